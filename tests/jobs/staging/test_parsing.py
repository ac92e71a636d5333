"""Good lines and their values, bad lines and their reasons."""

from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from jobs.staging import parsing
from jobs.staging.parsing import Field, other
from tests import arrow_frames

MAX_LINE_BYTES = 4096
NOTHING_FOUND = "line: not valid"  # of `explain` for a line without a problem
NOT_ONE_OBJECT = "line: not one JSON object"

NAMES = ("id", "n", "kind", "score", "rank", "flag", "tags", "note")


def _fields() -> tuple[Field, ...]:
    kinds = ("view", "rating")
    return (
        Field("id", "string", "an id", is_required=True),
        Field("n", "bigint", "a 64-bit integer from 0", is_required=True, is_valid=lambda v: v >= 0),
        Field("kind", "string", "one of view, rating", is_required=True, is_valid=lambda v: v.isin(*kinds)),
        Field(
            *("score", "double", "a number from 0.5 to 5.0"),
            is_valid=lambda v: v.between(0.5, 5.0),
            required_if=other("kind") == "rating",
        ),
        Field("rank", "int", "an integer from 1", is_valid=lambda v: v >= 1),
        Field("flag", "boolean", "true or false"),
        Field("tags", "array<string>", "a list of texts"),
        Field("note", "string", "a text"),
    )


def _line(more: str = "", **changes: str | None) -> str:
    """A good line whose fields are replaced by JSON texts, or left out where None; `more` follows the fields."""
    values = {"id": '"a"', "n": "1", "kind": '"view"', **changes}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in values.items() if value is not None) + more + "}"


# name: (line, the reason why it is rejected)
REJECTED: dict[str, tuple[str | bytes, str]] = {
    "no JSON": ("hello", NOT_ONE_OBJECT),
    "broken off in the middle": (_line()[:-9], NOT_ONE_OBJECT),
    "two objects": (_line() + _line(), NOT_ONE_OBJECT),
    "two objects with a space between": (_line() + " " + _line(), NOT_ONE_OBJECT),
    "two objects with a comma between": (_line() + ", " + _line(), NOT_ONE_OBJECT),
    "text after the object": (_line() + " x", NOT_ONE_OBJECT),
    "one brace too many": (_line() + "}", NOT_ONE_OBJECT),
    "a brace and text after the object": (_line() + "} x", NOT_ONE_OBJECT),
    "a bracket after the object": (_line() + "]", NOT_ONE_OBJECT),
    "a key after the object": (_line() + ', "x": 1', NOT_ONE_OBJECT),
    "array": ("[" + _line() + "]", NOT_ONE_OBJECT),
    "null": ("null", NOT_ONE_OBJECT),
    "number": ("17", NOT_ONE_OBJECT),
    "text": ('"a"', NOT_ONE_OBJECT),
    "single quotes": (_line().replace('"', "'"), NOT_ONE_OBJECT),
    "unquoted keys": ('{id: "a", n: 1, kind: "view"}', NOT_ONE_OBJECT),
    "a raw tab in a text": (_line(id='"a\tb"'), NOT_ONE_OBJECT),
    "a comment": (_line() + " // why", NOT_ONE_OBJECT),
    "empty object": ("{}", "id: missing; n: missing; kind: missing"),
    "broken UTF-8": (b'{"id": "\xff\xfe", "n": 1, "kind": "view"}', "line: not valid UTF-8"),
    "a surrogate as UTF-8": (b'{"id": "\xed\xa0\x80", "n": 1, "kind": "view"}', "line: not valid UTF-8"),
    # A line of 4096 bytes is taken. 34 bytes stand around the id, and an é is two.
    "a byte too long": (_line(id='"' + "a" * 4063 + '"'), "line: 4097 bytes, the limit is 4096"),
    "a byte too long in two-byte letters": (_line(id='"' + "é" * 2032 + '"'), "line: 4098 bytes, the limit is 4096"),
    "null where none may be": (_line(n="null"), "n: missing"),
    "blank text counts as absent": (_line(id='"  "'), "id: missing"),
    "a tab alone counts as absent": (_line(id=r'"\t"'), "id: missing"),
    "key in another case": (_line(id=None, ID='"a"'), "id: missing"),
    "number in quotes": (_line(n='"1"'), "n: expected a 64-bit integer from 0, found 1"),
    "fraction for an integer": (_line(n="1.0"), "n: expected a 64-bit integer from 0, found 1.0"),
    "negative": (_line(n="-1"), "n: expected a 64-bit integer from 0, found -1"),
    "beyond 64 bits": (
        _line(n="9223372036854775808"),
        "n: expected a 64-bit integer from 0, found 9223372036854775808",
    ),
    "2000 digits": (_line(n="7" * 2000), NOT_ONE_OBJECT),
    "boolean for an integer": (_line(n="true"), "n: expected a 64-bit integer from 0, found true"),
    "object for an integer": (_line(n='{"x": 1}'), 'n: expected a 64-bit integer from 0, found {"x":1}'),
    "beyond 32 bits": (_line(rank="2147483648"), "rank: expected an integer from 1, found 2147483648"),
    "below the first": (_line(rank="0"), "rank: expected an integer from 1, found 0"),
    "empty text for a number": (_line(rank='""'), "rank: expected an integer from 1, found "),
    "unknown value": (_line(kind='"hug"'), "kind: expected one of view, rating, found hug"),
    "bare NaN": (_line(score="NaN"), NOT_ONE_OBJECT),
    "NaN in quotes": (_line(score='"NaN"'), "score: expected a number from 0.5 to 5.0, found NaN"),
    "infinite": (_line(score="1e999"), 'score: expected a number from 0.5 to 5.0, found "Infinity"'),
    "above the range": (_line(score="5.01"), "score: expected a number from 0.5 to 5.0, found 5.01"),
    "required by another field": (_line(kind='"rating"'), "score: missing"),
    "required by another field with blanks": (_line(kind='" rating "'), "score: missing"),
    "text for a boolean": (_line(flag='"true"'), "flag: expected true or false, found true"),
    "number for a boolean": (_line(flag="1"), "flag: expected true or false, found 1"),
    "object for a text": (_line(note='{"x": 1}'), 'note: expected a text, found {"x":1}'),
    "array for a text": (_line(note='["x"]'), 'note: expected a text, found ["x"]'),
    "array for a text beside a key given twice": (
        _line(', "note": "x", "note": ["x"]'),
        'note: expected a text, found ["x"]',
    ),
    "text for a list": (_line(tags='"x"'), "tags: expected a list of texts, found x"),
    "null in a list": (_line(tags='["x", null]'), 'tags: expected a list of texts, found ["x",null]'),
    "nothing but null in a list": (_line(tags="[null]"), "tags: expected a list of texts, found [null]"),
    "list in a list": (_line(tags='["x", ["y"]]'), 'tags: expected a list of texts, found ["x",["y"]]'),
    "object in a list": (_line(tags='[{"x": 1}]'), 'tags: expected a list of texts, found [{"x":1}]'),
    "three fields at once": (
        _line(n="-1", kind=None, rank='"x"'),
        "n: expected a 64-bit integer from 0, found -1; kind: missing; rank: expected an integer from 1, found x",
    ),
    # The first 80 characters are shown.
    "long value is cut": (_line(kind='"' + "x" * 100 + '"'), "kind: expected one of view, rating, found " + "x" * 80),
}

# name: (line, the values of id, n, kind, score, rank, flag, tags, note)
GOOD: dict[str, tuple[str | bytes, tuple[Any, ...]]] = {
    "only what is required": (_line(), ("a", 1, "view", None, None, None, None, None)),
    "everything": (
        _line(kind='"rating"', score="4.5", rank="1", flag="false", tags='["x", "y"]', note='"hi"'),
        ("a", 1, "rating", 4.5, 1, False, ["x", "y"], "hi"),
    ),
    "optional fields that are null": (
        _line(score="null", rank="null", flag="null", tags="null", note="null"),
        ("a", 1, "view", None, None, None, None, None),
    ),
    "blanks around text and line": (
        "  " + _line(id='" a "', note='"  "') + "\t",
        ("a", 1, "view", None, None, None, None, None),
    ),
    "number for a text": (
        _line(id="17", note="98765432109876543210"),
        ("17", 1, "view", None, None, None, None, "98765432109876543210"),
    ),
    "integer for a number": (_line(score="4"), ("a", 1, "view", 4.0, None, None, None, None)),
    "ends of the range": (_line(n="0", score="0.5"), ("a", 0, "view", 0.5, None, None, None, None)),
    "largest of 64 and 32 bits": (
        _line(n="9223372036854775807", rank="2147483647"),
        ("a", 9223372036854775807, "view", None, 2147483647, None, None, None),
    ),
    "text in brackets": (_line(note='"[REC]"'), ("a", 1, "view", None, None, None, None, "[REC]")),
    "text in braces": (_line(note='"{}"'), ("a", 1, "view", None, None, None, None, "{}")),
    "JSON as text": (_line(note=r'"[\"x\"]"'), ("a", 1, "view", None, None, None, None, '["x"]')),
    "text in brackets in a list": (_line(tags='["[REC]"]'), ("a", 1, "view", None, None, None, ["[REC]"], None)),
    "empty list": (_line(tags="[]"), ("a", 1, "view", None, None, None, [], None)),
    "escapes and letters of every length": (
        _line(note=r'"Am\u00e9lie é 映 🎬 \ud83c\udfac \"x\""'),
        ("a", 1, "view", None, None, None, None, 'Amélie é 映 🎬 🎬 "x"'),
    ),
    "as long as a line may be": (_line(id='"' + "a" * 4062 + '"'), ("a" * 4062, 1, "view", *[None] * 5)),
    "unknown field, nested 2 deep": (_line(', "new": {"x": [1]}'), ("a", 1, "view", *[None] * 5)),
}


def _frame(spark: SparkSession, lines: dict[str, str | bytes]) -> Any:
    rows = [(name, line.encode() if isinstance(line, str) else line) for name, line in lines.items()]
    as_bytes = arrow_frames.frame(spark, "name string, line binary", rows)
    return as_bytes.selectExpr("name", "CAST(line AS STRING) AS line")


@pytest.fixture(scope="module")
def verdicts(spark: SparkSession) -> Iterator[dict[str, Row]]:
    """Results of both steps for every line, computed once: `is_good`, the values, `reason`."""
    frame = _frame(spark, {name: line for name, (line, _) in {**REJECTED, **GOOD}.items()})
    parsed = parsing.parse_lines(frame, _fields(), MAX_LINE_BYTES).drop("line")
    explained = parsing.explain(frame, _fields(), MAX_LINE_BYTES).drop("line")
    return {row["name"]: row for row in parsed.join(explained, on="name", how="inner").collect()}


@pytest.mark.parametrize("name", REJECTED)
def test_bad_line_is_rejected_with_its_reason(verdicts: dict[str, Row], name: str) -> None:
    verdict = verdicts[name]
    assert (verdict["is_good"], verdict["reason"]) == (False, REJECTED[name][1])


@pytest.mark.parametrize("name", GOOD)
def test_good_line_gives_its_values(verdicts: dict[str, Row], name: str) -> None:
    verdict = verdicts[name]
    assert (verdict["is_good"], tuple(verdict[n] for n in NAMES)) == (True, GOOD[name][1])


def test_exactly_the_bad_lines_have_reasons(verdicts: dict[str, Row]) -> None:
    assert len(verdicts) == len(REJECTED) + len(GOOD)
    at_odds = [name for name, row in verdicts.items() if row["is_good"] != (row["reason"] == NOTHING_FOUND)]
    assert at_odds == []


def test_unknown_keys_and_missing_fields_are_reported(spark: SparkSession) -> None:
    lines: dict[str, str | bytes] = {
        "complete": _line(),
        "new": _line(', "new": 1, "a.b": {"id": 2}'),
        "without n": _line(n=None),
        "null is there": _line(n="null"),
        "no object": "[1]",
        "no UTF-8": b'{"\xff": 1}',
    }
    parsed = parsing.parse_lines(_frame(spark, lines), _fields(), MAX_LINE_BYTES)
    rows = parsed.select("name", "unknown_fields", "missing_fields").collect()
    assert [tuple(row) for row in rows] == [
        ("complete", [], []),
        ("new", ["new", "a.b"], []),
        ("without n", [], ["n"]),
        ("null is there", [], []),
        ("no object", None, None),
        ("no UTF-8", None, None),
    ]


def test_other_columns_pass_through(spark: SparkSession) -> None:
    lines = arrow_frames.frame(spark, "line string, position int", [(_line(), 7)])
    parsed = parsing.parse_lines(lines, _fields(), MAX_LINE_BYTES)
    assert parsed.columns == ["line", "position", *NAMES, "is_good", "unknown_fields", "missing_fields"]
    assert [tuple(row) for row in parsed.select("line", "position").collect()] == [(_line(), 7)]


@pytest.mark.parametrize("depth", [900, 1500])
def test_deeply_nested_line_stops_nothing(spark: SparkSession, depth: int) -> None:
    # Beyond 1000 levels the parser gives up: the line is rejected, and its neighbour is not.
    deep = _line(f', "deep": {"[" * depth}{"]" * depth}, "note": [1]')
    frame = _frame(spark, {"deep": deep, "other": _line()})
    parsed = parsing.parse_lines(frame, _fields(), MAX_LINE_BYTES).select("name", "is_good")
    explained = parsing.explain(frame.where("name = 'deep'"), _fields(), MAX_LINE_BYTES).select("reason")
    assert [tuple(row) for row in parsed.collect()] == [("deep", False), ("other", True)]
    expected = "note: expected a text, found [1]" if depth == 900 else NOT_ONE_OBJECT
    assert [row["reason"] for row in explained.collect()] == [expected]
