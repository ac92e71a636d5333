"""The parts of a report: sections with tables, figures and posters, or the reason why one is missing."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """A table of formatted cells. Columns after the first `text_columns` hold numbers and are right-aligned."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1


@dataclass(frozen=True)
class Figure:
    """A picture as a data URI, with an alternative text."""

    source: str
    alt: str


@dataclass(frozen=True)
class Poster:
    """A title's name and poster; `source` is a data URI, or None where there is no poster."""

    title: str
    source: str | None


@dataclass(frozen=True)
class Shelf:
    """A row of titles: those a user liked, or those a recommender gives them."""

    heading: str
    posters: Sequence[Poster]


@dataclass(frozen=True)
class Section:
    """A part of the page under one heading; `missing` gives the reason where there is nothing to show."""

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    shelves: Sequence[Sequence[Shelf]] = field(default=())  # a group per user
    missing: str = ""
