"""Titles for people, and titles like others, from one bundle.

    retriever = Retriever.open("data/lake/bundles")          # the live bundle; or a bundle's own folder
    answer = retriever.recommend(history=[318, 2571], country="DE", providers=["nfx"], dial="discover", k=10)
    for item in answer.items:
        print(item.rank, item.title, item.score, item.why)
    print(retriever.similar([318, 858], k=5).items)

A retriever never changes: serving/live.py swaps one for another when a new bundle is published. It may be shared by
threads.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conf.loader import load_settings
from conf.settings import Serving
from indexing.bundle.bundle import Bundle
from indexing.bundle.bundle_files import MANIFEST
from indexing.errors import RequestError
from indexing.publishing import publication
from indexing.publishing.storage import open_store
from lake.arrays import NO_TITLE, Floats, Ids
from serving.response import attribution
from serving.response.presenter import Listed, Presenter, found
from serving.response.reasons import Reasons
from serving.response.response import Answer, Basis, Why
from serving.search import planner
from serving.search.availability import Availability
from serving.search.candidates import ByLikeness, ByScore
from serving.search.planner import Policy, Ranked
from serving.user_history import Entry, History, KnownHistory, Person

# A list by likeness is taken from this many times as many titles of the index, which knows inner products alone.
SIMILAR_REFETCH = 10.0
# Titles on offer are kept for so many pairs of country and providers.
CACHED_FILTERS = 128
# A reason names so many titles of the history, and so many themes, people and genres each.
REASON_TITLES = 3
REASON_NAMES = 5
_NO_IDS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Lists:
    """Titles for many people: `title_ids` and `scores` [people, k], best first; NO_TITLE where a list has no more."""

    title_ids: Ids
    scores: Floats
    is_popular: NDArray[np.bool_]  # [people]: nothing was known of them, and this is what is popular


@dataclass(frozen=True)
class Wanted:
    """What a list is to be of."""

    allowed: Ids | None  # rows that may be recommended, in order; None for all candidates
    lacking: Ids  # ids asked for that the bundle lacks
    count: int
    dial: float = 0.0
    freshness: float = 0.0


@dataclass(frozen=True)
class Known:
    """A person as the bundle knows them."""

    history: KnownHistory
    excluded: Ids  # rows, those of the history too
    unknown: Ids  # ids that the bundle lacks

    @property
    def has_likes(self) -> bool:
        """Whether something of the history speaks for anything."""
        return len(self.history.liked.rows) > 0

    def lacking(self, wanted: Wanted) -> Ids:
        """Ids of either that the bundle lacks."""
        return np.concatenate([self.unknown, wanted.lacking])


class Retriever:
    """Answers from one bundle; see the module."""

    def __init__(self, opened: Bundle, options: Serving) -> None:
        """Loads all of a verified bundle, so that nothing is read once its folder is removed."""
        self.bundle = opened
        self._options = options
        self._policy = Policy(options.exact_max_titles, planner.OVERFETCH, options.exact_price)
        self._by_score = ByScore(opened)
        self._by_likeness = ByLikeness(opened, SIMILAR_REFETCH)
        self.availability = Availability(opened.offers, CACHED_FILTERS)
        self._presenter = Presenter(opened, Reasons(opened.titles, REASON_TITLES, REASON_NAMES))
        self._warm_up()

    @classmethod
    def open(cls, location: Path | str, options: Serving | None = None) -> "Retriever":
        """The bundle in a folder, or the live one of a root of bundles; verified before anything in it is run.

        Raises BundleError where there is none, or it is not whole.
        """
        settings = load_settings()
        if (Path(location) / MANIFEST).exists():
            opened = Bundle.open(location)
        else:
            opened = publication.open_live(open_store(str(location), settings.bundles.copies))
        return cls(opened, options or settings.serving)

    @property
    def version(self) -> str:
        """Of the bundle."""
        return self.bundle.version

    def recommend(
        self,
        history: Sequence[Entry] | History = (),
        country: str | None = None,
        providers: Iterable[str] | None = None,
        dial: float | str = 0.0,
        k: int | None = None,
        exclude: Iterable[int] = (),
        candidates: Iterable[int] | None = None,
        freshness: float = 0.0,
        why: bool = True,
    ) -> Answer:
        """The `k` best titles for somebody, without those of the history; fewer only where no more may be recommended.

        A title may be recommended where it is on offer in `country` by one of `providers` (by any without them, and
        everywhere without a country), and is among `candidates`, where those are given. `dial` is one of the bundle's
        settings or a number, clipped to its range; above 0 favours well-known titles. `freshness` above 0 favours new
        ones. Where nothing is known of somebody, they get what is popular, and are told so. Raises RequestError.
        """
        person = Person(_history(history), country, _ids("exclude", exclude))
        turned = self.dial_value(dial)
        wanted = Wanted(*self._allowed(country, providers, candidates), self._count(k), turned, freshness)
        known = self.known(person)
        if not known.has_likes:
            return self._popular_answer(known, country, wanted, _why_popular(person.history, known))
        listed = self._listed("history", known, country, wanted)
        reasons: list[Why | None] = []
        if why and len(listed.rows):
            most = self._options.reason_history_titles
            weighed = attribution.leave_one_out(self.bundle, known.history, self._country(country), listed.rows, most)
            reasons = self._presenter.explain(listed.rows, weighed)
        return self._presenter.answer(listed, known.lacking(wanted), wanted.count, reasons)

    def similar(
        self,
        title_ids: Iterable[int],
        country: str | None = None,
        providers: Iterable[str] | None = None,
        k: int | None = None,
        exclude: Iterable[int] = (),
        candidates: Iterable[int] | None = None,
        why: bool = True,
    ) -> Answer:
        """The `k` titles most like all of `title_ids` together, by the mean cosine of embeddings, without these.

        What may be recommended is as in `recommend`; where no title is known, it is what is popular.
        """
        asked = _ids("title_ids", title_ids)
        wanted = Wanted(*self._allowed(country, providers, candidates), self._count(k))
        known = self.known(Person(History.of(asked.tolist()), country, _ids("exclude", exclude)))
        seeds = known.history.rows
        if not len(seeds):
            return self._popular_answer(known, country, wanted, "no known title was asked with")
        embeddings = self.bundle.embeddings[seeds]
        directions = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), np.float32(1e-12))
        query = directions.mean(axis=0, keepdims=True)
        ranked = planner.best(self._by_likeness, query, wanted.allowed, [known.excluded], wanted.count, self._policy)
        rows, scores = found(ranked.rows[0], ranked.scores[0])
        reasons: list[Why | None] = []
        if why and len(rows):
            reasons = self._presenter.explain(rows, attribution.likeness(self.bundle, seeds, rows, directions))
        listed = Listed("titles", rows, scores, ranked.plan.kind, None)
        return self._presenter.answer(listed, known.lacking(wanted), wanted.count, reasons)

    def recommend_many(
        self,
        people: Sequence[Person],
        dial: float | str = 0.0,
        k: int | None = None,
        candidates: Iterable[int] | None = None,
        freshness: float = 0.0,
        is_available_only: bool = False,
    ) -> Lists:
        """As `recommend`, for many people at once and without reasons.

        A country counts for the model alone, unless `is_available_only`: then lists hold what is on offer there.
        """
        turned, count = self.dial_value(dial), self._count(k)
        lists = Lists(
            np.full((len(people), count), NO_TITLE, dtype=np.int64),
            np.full((len(people), count), -np.inf, dtype=np.float32),
            np.zeros(len(people), dtype=np.bool_),
        )
        groups: dict[str | None, list[int]] = {}
        for place, person in enumerate(people):
            groups.setdefault(person.country if is_available_only else None, []).append(place)
        for country, places in groups.items():
            wanted = Wanted(*self._allowed(country, None, candidates), count, turned, freshness)
            for start in range(0, len(places), self._options.batch_users):
                batch = places[start : start + self._options.batch_users]
                known = [self.known(people[n]) for n in batch]
                ranked = self._ranked(known, [people[n].country for n in batch], wanted)
                titles = np.where(ranked.rows == NO_TITLE, NO_TITLE, self.bundle.title_ids[ranked.rows])
                lists.title_ids[batch], lists.scores[batch] = titles, ranked.scores
                lists.is_popular[batch] = [not own.has_likes for own in known]
        return lists

    def dial_value(self, dial: float | str) -> float:
        """A number for a setting of the bundle or a number; raises RequestError for a name that is no setting."""
        known = self.bundle.manifest.dial
        if isinstance(dial, str):
            if dial not in known.settings:
                raise RequestError("dial", f"no setting {dial!r}; there are {', '.join(known.settings)}, and numbers")
            return known.settings[dial]
        if not np.isfinite(dial):
            raise RequestError("dial", f"expected a finite number, not {dial}")
        return float(np.clip(dial, known.minimum, known.maximum))

    def _ranked(self, known: Sequence[Known], countries: Sequence[str | None], wanted: Wanted) -> Ranked:
        """[people, count]: by their histories; for people of whom nothing is known the query tower has a query too."""
        embeddings = attribution.ask(self.bundle, [own.history for own in known], list(map(self._country, countries)))
        queries = self.bundle.queries(embeddings, wanted.dial, wanted.freshness)
        excluded = [own.excluded for own in known]
        return planner.best(self._by_score, queries, wanted.allowed, excluded, wanted.count, self._policy)

    def _listed(self, basis: Basis, known: Known, country: str | None, wanted: Wanted) -> Listed:
        ranked = self._ranked([known], [country], wanted)
        return Listed(basis, *found(ranked.rows[0], ranked.scores[0]), ranked.plan.kind, wanted.dial)

    def known(self, person: Person) -> Known:
        """By rows."""
        history = person.history
        rows = self.bundle.rows(history.title_ids)
        is_known = rows >= 0
        excluded = np.sort(rows[is_known])
        if person.excluded is not None and len(person.excluded):
            others = self.bundle.rows(person.excluded)
            excluded = np.union1d(excluded, others[others >= 0])
        return Known(
            KnownHistory(rows[is_known], history.weights[is_known], history.ages_days[is_known]),
            excluded,
            history.title_ids[~is_known],
        )

    def _country(self, country: str | None) -> int:
        """As the query tower takes it: 0 where not known, 1 for one that training never met."""
        return 0 if country is None else self.bundle.countries.get(country, 1)

    def _count(self, k: int | None) -> int:
        count = self._options.titles if k is None else k
        if not 1 <= count <= self._options.max_titles:
            raise RequestError("k", f"expected 1 to {self._options.max_titles} titles, not {count}")
        return count

    def _allowed(
        self, country: str | None, providers: Iterable[str] | None, candidates: Iterable[int] | None
    ) -> tuple[Ids | None, Ids]:
        """Rows that may be recommended, in order, None for all candidates; and ids that the bundle lacks."""
        if providers is not None and country is None:
            raise RequestError("providers", "expected a country too: what is on offer differs from one to the other")
        allowed = None if country is None else self.availability.rows(country, providers)
        if candidates is None:
            return allowed, _NO_IDS
        ids = _ids("candidates", candidates)
        rows = self.bundle.rows(ids)
        chosen = np.unique(rows[(rows >= 0) & (rows < self.bundle.count_candidates)])
        if allowed is not None:
            chosen = np.intersect1d(chosen, allowed, assume_unique=True)
        return chosen, ids[rows < 0]

    def _popular_answer(self, known: Known, country: str | None, wanted: Wanted, reason: str) -> Answer:
        where = "everywhere" if country is None else f"among what is on offer in {country}"
        note = f"{reason}: this is what is popular {where}"
        listed = self._listed("popular", known, country, wanted)
        return self._presenter.answer(listed, known.lacking(wanted), wanted.count, note=note)

    def _warm_up(self) -> None:
        """Ask for everything once: the first request must not be the one that loads it."""
        title = int(self.bundle.title_ids[0])
        self.recommend(history=[title], k=1)
        self.similar([title], k=1)
        self.bundle.search(np.zeros((1, self.bundle.manifest.vectors.vector_dim), dtype=np.float32), 1)


def _history(entries: Sequence[Entry] | History) -> History:
    return entries if isinstance(entries, History) else History.of(entries)


def _ids(field: str, values: Iterable[int]) -> Ids:
    try:
        return np.array(values if isinstance(values, np.ndarray) else list(values), dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        raise RequestError(field, "expected ids of titles, whole numbers") from None


def _why_popular(history: History, known: Known) -> str:
    if not len(history):
        return "no history"
    if not len(known.history.rows):
        return "no title of the history is known here"
    return "nothing in the history speaks for anything"
