"""What a retriever answers."""

from dataclasses import dataclass
from datetime import date
from typing import Literal


@dataclass(frozen=True)
class Reason:
    """A title of the history, and by how much the recommended title's score would fall without it.

    For titles like others: a title asked with, and its part of the score.
    """

    title_id: int
    title: str
    contribution: float


@dataclass(frozen=True)
class Why:
    """The titles that weigh most for a recommendation, and what it shares with them, what most of them share first."""

    titles: tuple[Reason, ...]
    genres: tuple[str, ...]
    themes: tuple[str, ...]
    people: tuple[str, ...]


@dataclass(slots=True)  # not frozen, which would take seven times as long to make, twenty times a call
class Item:
    """One title of a list. It is unreleased where its release lies after the day that the bundle is of."""

    rank: int  # from 1
    title_id: int
    title: str
    object_type: str | None  # movie, show
    release_date: date | None
    release_year: int | None
    is_unreleased: bool
    score: float
    why: Why | None  # None where it was not asked for, or nothing of the history speaks for the title


Basis = Literal["history", "titles", "popular"]


@dataclass(frozen=True)
class Answer:
    """A list of titles, all from one bundle.

    `basis` says what scores are: by "history" query · vector, popularity by the dial included; "popular" the same, with
    one query for all of whom nothing is known; by "titles" the mean cosine with the titles asked with.
    """

    bundle_version: str
    model_version: int
    basis: Basis
    note: str | None  # what a person should know of how the list came about
    dial: float | None  # as used, in the model's units; None where it plays no part
    plan: Literal["exact", "search"]
    unknown_title_ids: tuple[int, ...]  # asked with, but not in the bundle
    items: tuple[Item, ...]
