"""Public dataclasses of a retriever's response."""

from dataclasses import dataclass
from datetime import date
from typing import Literal


@dataclass(frozen=True)
class Reason:
    """A title of the history, and by how much the recommended title's score would fall without it.

    For similar titles: one of the given titles, and its share of the score.
    """

    title_id: int
    title: str
    contribution: float


@dataclass(frozen=True)
class Why:
    """The history titles that contribute most, and what they share with the title, the most frequently shared first."""

    titles: tuple[Reason, ...]
    genres: tuple[str, ...]
    themes: tuple[str, ...]
    people: tuple[str, ...]


@dataclass(slots=True)  # not frozen, which would take seven times as long to make, twenty times a call
class Item:
    """One title of a list. It is unreleased where its release date is after the bundle's `as_of` day."""

    rank: int  # from 1
    title_id: int
    title: str
    object_type: str | None  # movie, show
    release_date: date | None
    release_year: int | None
    is_unreleased: bool
    score: float
    why: Why | None  # None where reasons were not requested, or no title of the history contributes


Basis = Literal["history", "titles", "popular"]


@dataclass(frozen=True)
class RetrieverResponse:
    """A list of titles, all from one bundle.

    `basis` says what a score is. "history": the inner product of the user's query and the title's vector, popularity
    by the dial included. "popular": the same with the cold-user query, which all users without likes share. "titles":
    the mean cosine with the given titles.
    """

    bundle_version: str
    model_version: int
    basis: Basis
    note: str | None  # what a reader should know about how the list was made
    dial: float | None  # the value used, in the model's units; None where the list does not depend on it
    plan: Literal["exact", "search"]
    unknown_title_ids: tuple[int, ...]  # ids of the request that the bundle lacks
    items: tuple[Item, ...]
