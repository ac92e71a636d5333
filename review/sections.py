"""The nightly report's parts: each a heading with tables, figures and pictures, or what is missing and why."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """Cells are shown as they are; all columns but the first `text_columns` are numbers, to the right."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1


@dataclass(frozen=True)
class Figure:
    """A picture as a data URI, and what it shows, for those who can't see it."""

    source: str
    said: str


@dataclass(frozen=True)
class Poster:
    """A title as shown to a person: `source` is a data URI, or None where there is no poster."""

    title: str
    source: str | None


@dataclass(frozen=True)
class Shelf:
    """Titles in a row: what a user liked, or what a recommender has for them."""

    heading: str
    posters: Sequence[Poster]


@dataclass(frozen=True)
class Section:
    """`missing` says why there is nothing to show, `said` what is to be seen."""

    title: str
    said: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    shelves: Sequence[Sequence[Shelf]] = field(default=())  # a group per user
    missing: str = ""
