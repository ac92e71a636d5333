"""Strict parsing of JSON lines into typed columns.

Two steps, since nearly all lines are good: `parse_lines` reads the values and marks good lines, cheaply; `explain`
finds the reasons for the few bad ones, slowly.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

# A longer line is refused: an event is some hundred bytes, a title some thousand.
MAX_LINE_BYTES = 2**20
_SHOWN_CHARACTERS = 80
_BLANKS = " \t\r\n"
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
    strings; numbers are accepted where text is expected. `convert` makes the table's value, null where it can't, and
    `is_valid` must hold for the converted value; `expected` describes both in words. Blank text counts as missing.
    `required_if` is a condition over the other fields of the line, as `other(name)`.
    """

    name: str
    type: str
    expected: str
    is_required: bool = False
    convert: Callable[[Column], Column] = _as_is
    is_valid: Callable[[Column], Column] = _anything
    required_if: Column | None = None


TITLE_ID = Field("title_id", "bigint", "a 64-bit integer from 0", is_required=True, is_valid=lambda v: v >= 0)
COUNTRY = Field(
    *("country", "string", "an ISO 3166-1 alpha-2 code"),
    is_required=True,
    # ASCII letters alone: the upper case of "ß" has two letters.
    convert=lambda v: F.when(v.rlike("^[A-Za-z]{2}$"), F.upper(v)),
)


def other(name: str) -> Column:
    """The raw value of another field of the same line, for `required_if`."""
    return F.col(f"_raw_{name}")


def parse_lines(lines: DataFrame, fields: Sequence[Field], max_line_bytes: int) -> DataFrame:
    """`lines` with a column per field, `is_good`, and two arrays of names: `unknown_fields`, which no field has, and
    `missing_fields`, required but no key of the object; both null where the line is no object.

    Persist the result before filtering it: a filter pushed below the parser would parse twice.
    """
    known = F.array(*[F.lit(field.name) for field in fields])
    required = F.array(*[F.lit(field.name) for field in fields if field.is_required])
    raw = _with_raw(lines, fields, max_line_bytes).withColumn("_keys", F.json_object_keys(_readable(max_line_bytes)))
    # One projection after the other: columns that refer to columns stay small plans, where nested expressions, each
    # repeated several times, would take Spark longer to plan than to run.
    converted = raw.withColumns({field.name: field.convert(F.col(f"_raw_{field.name}")) for field in fields})
    is_good = F.col("_is_object") & ~F.col("_has_other_type")
    for field in fields:
        is_good = is_good & ~_is_wrong(field)
    return converted.select(
        *lines.columns,
        *[F.col(field.name) for field in fields],
        F.coalesce(is_good, F.lit(False)).alias("is_good"),
        F.array_except("_keys", known).alias("unknown_fields"),
        F.array_except(required, "_keys").alias("missing_fields"),
    )


def explain(lines: DataFrame, fields: Sequence[Field], max_line_bytes: int) -> DataFrame:
    """Bad `lines` with `reason`: each wrong field, the value expected and the value found."""
    as_text = F.from_json("line", ", ".join(f"`{field.name}` string" for field in fields), _STRICT)
    raw = _with_raw(lines, fields, max_line_bytes).withColumn("_text", as_text)
    converted = raw.withColumns({field.name: field.convert(F.col(f"_raw_{field.name}")) for field in fields})
    too_long = F.concat(F.lit("line: "), F.octet_length("line"), F.lit(f" bytes, the limit is {max_line_bytes}"))
    problems = F.concat_ws("; ", *[_problem(field) for field in fields])
    reason = (
        F.when(F.octet_length("line") > max_line_bytes, too_long)
        .when(~F.is_valid_utf8("line"), "line: not valid UTF-8")
        .when(~F.col("_is_object"), "line: not one JSON object")
        .otherwise(F.coalesce(F.nullif(problems, F.lit("")), F.lit("line: not valid")))
    )
    return converted.select(*lines.columns, reason.alias("reason"))


def _readable(max_line_bytes: int) -> Column:
    return F.when((F.octet_length("line") <= max_line_bytes) & F.is_valid_utf8("line"), F.col("line"))


def _with_raw(lines: DataFrame, fields: Sequence[Field], max_line_bytes: int) -> DataFrame:
    """Add the unconverted `_raw_<name>` per field (blank text as null), `_is_object`, and `_has_other_type`: some value
    is not of its field's type.

    The line is wrapped as the one element of an array, followed by a mark. Text after the object's end, which the
    parser would skip, breaks the array or hides the mark.
    """
    wrapped = F.concat(F.lit('{"lines":['), _readable(max_line_bytes), F.lit('],"end":1}'))
    columns = ", ".join(f"`{field.name}`: {field.type}" for field in fields)
    schema = f"lines array<struct<{columns}>>, end int, _corrupt string"
    parsed = lines.withColumn("_json", F.from_json(wrapped, schema, _STRICT))
    is_object = (F.size("_json.lines") == 1) & (F.col("_json.end") == 1)
    parsed = parsed.withColumn("_object", F.when(is_object, F.col("_json.lines")[0]))
    return parsed.withColumns(
        {
            **{f"_raw_{field.name}": _raw(field) for field in fields},
            "_is_object": F.col("_object").isNotNull(),
            "_has_other_type": F.col("_json._corrupt").isNotNull(),
        }
    ).drop("_json", "_object")


def _raw(field: Field) -> Column:
    value = F.col(f"_object.{field.name}")
    return F.nullif(F.trim(value, F.lit(_BLANKS)), F.lit("")) if field.type == "string" else value


def _is_wrong(field: Field) -> Column:
    """True for a value that is present and can't be used, or is required and missing."""
    raw, value = F.col(f"_raw_{field.name}"), F.col(field.name)
    is_wrong = raw.isNotNull() & (value.isNull() | ~field.is_valid(value)) | _is_nested(field)
    return F.coalesce(is_wrong | _is_missing(field), F.lit(False))


def _is_missing(field: Field) -> Column:
    if field.is_required:
        return F.col(f"_raw_{field.name}").isNull()
    if field.required_if is not None:
        return F.col(f"_raw_{field.name}").isNull() & field.required_if
    return F.lit(False)


def _is_nested(field: Field) -> Column:
    """True for an object or array where text is expected: Spark's parser turns those into their JSON text."""
    raw = F.col(f"_raw_{field.name}")
    # The line is parsed again only for text that begins like JSON: "[REC]" is a title.
    if field.type == "string":
        return _begins_like_json(raw) & _has_not_type(field, "STRING")
    if field.type == "array<string>":
        has_null = F.exists(raw, lambda item: item.isNull())
        return has_null | (F.exists(raw, _begins_like_json) & _has_not_type(field, "ARRAY<STRING>"))
    return F.lit(False)


def _begins_like_json(text: Column) -> Column:
    return F.left(text, F.lit(1)).isin("{", "[")


def _has_not_type(field: Field, json_type: str) -> Column:
    """True where a field's value has another JSON type, or an unknown one, as for a key that is given twice."""
    value = F.try_variant_get(F.try_parse_json("line"), f"$.{field.name}", "variant")
    return F.coalesce(F.schema_of_variant(value) != json_type, F.lit(True))


def _problem(field: Field) -> Column:
    """The problem with one field of a line, or null."""
    raw, text = F.col(f"_raw_{field.name}"), F.col(f"_text.{field.name}")
    # Every JSON value can be read as text.
    can_fail = F.lit(field.type != "string")
    has_other_type = can_fail & raw.isNull() & F.col("_has_other_type") & text.isNotNull()
    shown = F.concat(F.lit(f"{field.name}: expected {field.expected}, found "), F.left(text, F.lit(_SHOWN_CHARACTERS)))
    missing = F.when(_is_missing(field) & ~has_other_type, F.lit(f"{field.name}: missing"))
    return F.coalesce(missing, F.when(has_other_type | _is_wrong(field), shown))
