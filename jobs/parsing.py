"""JSON lines into typed columns, strictly: every line comes out with its values or with the reason why it can't.

Two steps, since nearly all lines are good: `parse_lines` reads values and says whether a line is good, cheaply;
`explain` finds the reasons, slowly, and is meant for the few that are not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_SHOWN_CHARACTERS = 80
_STRICT = {
    "columnNameOfCorruptRecord": "_corrupt",
    "allowSingleQuotes": "false",
    "allowNonNumericNumbers": "false",
}


def _as_is(value: Column) -> Column:
    return value


def _anything(_: Column) -> Column:
    return F.lit(True)


@dataclass(frozen=True)
class Field:
    """One field of a feed.

    `type` is the Spark SQL type that the JSON value must have: a string, a number or a boolean, or an array of
    strings; numbers are taken as text where text is expected. `convert` makes the table's value of it, null where
    that can't be done, and `is_valid` is what must hold for the converted value; `expected` says both in words.
    Blank text counts as absent. `required_if` is a condition over the other fields of the line, as `other(name)`.
    """

    name: str
    type: str
    expected: str
    is_required: bool = False
    convert: Callable[[Column], Column] = _as_is
    is_valid: Callable[[Column], Column] = _anything
    required_if: Column | None = None


def other(name: str) -> Column:
    """The value of another field of the same line, as it came, for `required_if`."""
    return F.col(f"_json.r.{name}")


def parse_lines(lines: DataFrame, fields: Sequence[Field], max_line_bytes: int) -> DataFrame:
    """`lines` with a column per field, `is_good`, and two arrays of names: `unknown_fields`, which no field has, and
    `missing_fields`, required but no key of the object; both null where the line is no object.

    Persist the result before filtering it: a filter pushed below the parser would parse twice.
    """
    keys = F.json_object_keys(_readable(max_line_bytes))
    known = F.array(*[F.lit(field.name) for field in fields])
    required = F.array(*[F.lit(field.name) for field in fields if field.is_required])
    raw = {field.name: _raw(field) for field in fields}
    values = {field.name: field.convert(raw[field.name]) for field in fields}
    is_good = F.col("_json.r").isNotNull() & F.col("_json._corrupt").isNull()
    for field in fields:
        is_good = is_good & ~_is_wrong(field, raw[field.name], values[field.name])
    return _with_json(lines, fields, max_line_bytes).select(
        *lines.columns,
        *[values[field.name].alias(field.name) for field in fields],
        F.coalesce(is_good, F.lit(False)).alias("is_good"),
        F.array_except(keys, known).alias("unknown_fields"),
        F.array_except(required, keys).alias("missing_fields"),
    )


def explain(lines: DataFrame, fields: Sequence[Field], max_line_bytes: int) -> DataFrame:
    """`lines` that are not good, with `reason`: each field that is wrong, what was expected there, and what came."""
    as_text = F.from_json("line", ", ".join(f"`{field.name}` string" for field in fields), _STRICT)
    problems = [_problem(field, as_text.getField(field.name)) for field in fields]
    too_long = F.concat(F.lit("line: "), F.octet_length("line"), F.lit(f" bytes, the limit is {max_line_bytes}"))
    reason = (
        F.when(F.octet_length("line") > max_line_bytes, too_long)
        .when(~F.is_valid_utf8("line"), "line: not valid UTF-8")
        .when(F.col("_json.r").isNull(), "line: not one JSON object")
        .otherwise(F.coalesce(F.nullif(F.concat_ws("; ", *problems), F.lit("")), F.lit("line: not valid")))
    )
    return _with_json(lines, fields, max_line_bytes).select(*lines.columns, reason.alias("reason"))


def _readable(max_line_bytes: int) -> Column:
    return F.when((F.octet_length("line") <= max_line_bytes) & F.is_valid_utf8("line"), F.col("line"))


def _with_json(lines: DataFrame, fields: Sequence[Field], max_line_bytes: int) -> DataFrame:
    """Add `_json`: `r`, the object of a line, and `_corrupt`, not null where a value had another type.

    The wrapper around the line makes text after the object's end, which the parser would pass over, an error.
    """
    wrapped = F.concat(F.lit('{"r":'), _readable(max_line_bytes), F.lit("}"))
    columns = ", ".join(f"`{field.name}`: {field.type}" for field in fields)
    return lines.withColumn("_json", F.from_json(wrapped, f"r struct<{columns}>, _corrupt string", _STRICT))


def _raw(field: Field) -> Column:
    value = F.col(f"_json.r.{field.name}")
    return F.nullif(F.trim(value), F.lit("")) if field.type == "string" else value


def _is_wrong(field: Field, raw: Column, value: Column) -> Column:
    """True for a value that is there and can't be used, or is required and not there; false or null otherwise."""
    is_wrong = raw.isNotNull() & (value.isNull() | ~field.is_valid(value)) | _is_nested(field, raw)
    if field.is_required or field.required_if is not None:
        is_wrong = is_wrong | (raw.isNull() & _is_needed(field))
    return F.coalesce(is_wrong, F.lit(False))


def _is_needed(field: Field) -> Column:
    return F.lit(True) if field.required_if is None else field.required_if


def _is_nested(field: Field, raw: Column) -> Column:
    """An object or array where text belongs: Spark's parser turns those into their JSON text."""
    # Looked up in the line again only for text that begins like one: "[REC]" is a film.
    if field.type == "string":
        return F.when(_begins_like_json(raw), _json_type(field) != "STRING").otherwise(False)
    if field.type == "array<string>":
        is_odd = F.exists(raw, lambda item: item.isNull() | _begins_like_json(item))
        return F.when(is_odd, _json_type(field) != "ARRAY<STRING>").otherwise(False)
    return F.lit(False)


def _begins_like_json(text: Column) -> Column:
    return F.left(text, F.lit(1)).isin("{", "[")


def _json_type(field: Field) -> Column:
    return F.schema_of_variant(F.try_variant_get(F.try_parse_json("line"), f"$.{field.name}", "variant"))


def _problem(field: Field, found: Column) -> Column:
    """What is wrong with one field of a line, or null; `found` is its value as text."""
    raw = _raw(field)
    has_other_type = raw.isNull() & F.col("_json._corrupt").isNotNull() & (F.trim(found) != "")
    shown = F.concat(F.lit(f"{field.name}: expected {field.expected}, found "), F.left(found, F.lit(_SHOWN_CHARACTERS)))
    if field.is_required or field.required_if is not None:
        shown = F.when(raw.isNull() & ~has_other_type, F.lit(f"{field.name}: missing")).otherwise(shown)
    return F.when(F.coalesce(has_other_type, F.lit(False)) | _is_wrong(field, raw, field.convert(raw)), shown)
