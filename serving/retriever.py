"""Recommendations for users, and titles similar to given ones, from one bundle.

    retriever = Retriever.open("data/lake/bundles")          # the live bundle; or a bundle's own folder
    response = retriever.recommend(history=[318, 2571], country="DE", providers=["nfx"], dial="discover", k=10)
    for item in response.items:
        print(item.rank, item.title, item.score, item.why)
    print(retriever.similar([318, 858], k=5).items)

A retriever never changes, and threads may share one: serving/live.py replaces it when a new bundle is published.
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
from indexing.publishing import publication
from indexing.publishing.storage import open_store
from lake.arrays import NO_TITLE, Floats, Ids
from serving.response import attribution
from serving.response.reasons import Reasons
from serving.response.response import Basis, RetrieverResponse, Why
from serving.response.response_builder import RankedTitles, ResponseBuilder, without_padding
from serving.search import indexed_query, planner
from serving.search.availability import Availability
from serving.search.candidates import ByCosine, ByScore
from serving.search.indexed_query import IndexedQuery
from serving.search.list_spec import ListSpec, ListSpecReader, parse_title_ids
from serving.search.planner import Policy, RankedLists
from serving.user_history import Entry, UserHistory, UserQuery

SIMILAR_REFETCH = 10.0  # the index ranks by inner product: so many times as many titles are ranked again by cosine
CACHED_FILTERS = 128  # pairs of country and providers whose titles on offer are cached
BATCH_USERS = 256  # users of a batch in batch inference: bounds the memory of their scores
# History titles, the nearest ones, that are left out one by one to find their contributions; each costs a query.
REASON_HISTORY_TITLES = 12
REASON_TITLES = 3  # history titles in the reasons of one title
REASON_NAMES = 5  # names of each kind in the reasons of one title: genres, themes, people


@dataclass(frozen=True)
class UserLists:
    """Lists for many users: `title_ids` and `scores` [users, k], best first; NO_TITLE pads a shorter list."""

    title_ids: Ids
    scores: Floats
    is_popular: NDArray[np.bool_]  # [users]: the history has no likes, and the list holds what is popular


class Retriever:
    """Recommends titles of one bundle; see the module's docstring."""

    def __init__(self, opened: Bundle, options: Serving) -> None:
        """Load all of a verified bundle; its folder may be removed afterwards."""
        self.bundle = opened
        self.availability = Availability(opened.offers, CACHED_FILTERS)
        self._options = options
        self._specs = ListSpecReader(opened, self.availability, options)
        self._policy = Policy(options.exact_max_titles, planner.OVERFETCH, planner.EXACT_PRICE)
        self._by_score = ByScore(opened)
        self._by_cosine = ByCosine(opened, SIMILAR_REFETCH)
        self._reasons = Reasons(opened.titles, REASON_TITLES, REASON_NAMES)
        self._responses = ResponseBuilder(opened)
        self._warm_up()

    @classmethod
    def open(cls, location: Path | str, options: Serving | None = None) -> "Retriever":
        """Open the bundle in a folder, or the live bundle of a bundles' root, after verifying its files.

        Raises BundleError where there is no bundle, or it is incomplete.
        """
        settings = load_settings()
        if (Path(location) / MANIFEST).exists():
            opened = Bundle.open(location)
        else:
            opened = publication.open_live(open_store(str(location), settings.bundles.copies))
        return cls(opened, options or settings.serving)

    @property
    def version(self) -> str:
        """The bundle's version."""
        return self.bundle.version

    def recommend(
        self,
        history: Sequence[Entry] | UserHistory = (),
        country: str | None = None,
        providers: Iterable[str] | None = None,
        dial: float | str = 0.0,
        k: int | None = None,
        exclude: Iterable[int] = (),
        candidates: Iterable[int] | None = None,
        freshness: float = 0.0,
        why: bool = True,
    ) -> RetrieverResponse:
        """The `k` best titles for a user, without those of the history; fewer only where no more may be recommended.

        A title may be recommended where one of `providers` offers it in `country` (any provider without `providers`,
        every title without `country`), and it is among `candidates`, where those are given. `dial` is one of the
        bundle's settings or a number, clipped to its range; above 0 favours well-known titles. `freshness` above 0
        favours new ones. A user without likes gets what is popular, and the response's note says so. Raises
        RequestError.
        """
        entries = history if isinstance(history, UserHistory) else UserHistory.from_entries(history)
        query = self.look_up(UserQuery(entries, country, parse_title_ids("exclude", exclude)))
        spec = self._specs.read(country, providers, candidates, k, dial, freshness)
        if not query.has_likes:
            return self._popular_response(query, country, spec, _why_popular(entries, query))
        ranked = self._ranked_titles("history", query, spec)
        reasons: list[Why | None] = []
        if why and len(ranked.rows):
            max_titles = REASON_HISTORY_TITLES
            contributions = attribution.leave_one_out(self.bundle, query, ranked.rows, max_titles)
            reasons = self._reasons.explain(ranked.rows, contributions)
        return self._responses.build(ranked, _unknown(query, spec), spec.count, reasons)

    def similar(
        self,
        title_ids: Iterable[int],
        country: str | None = None,
        providers: Iterable[str] | None = None,
        k: int | None = None,
        exclude: Iterable[int] = (),
        candidates: Iterable[int] | None = None,
        why: bool = True,
    ) -> RetrieverResponse:
        """The `k` titles most similar to all of `title_ids` together, by the mean cosine of embeddings, without these.

        The same titles may be recommended as in `recommend`. Without any known title it is what is popular.
        """
        seed_ids = parse_title_ids("title_ids", title_ids).tolist()
        spec = self._specs.read(country, providers, candidates, k)
        query = self.look_up(
            UserQuery(UserHistory.from_entries(seed_ids), country, parse_title_ids("exclude", exclude))
        )
        seeds = query.history.rows
        if not len(seeds):
            return self._popular_response(query, country, spec, "none of the titles is known here")
        embeddings = self.bundle.embeddings[seeds]
        directions = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), np.float32(1e-12))
        mean_direction = directions.mean(axis=0, keepdims=True)
        lists = planner.best_titles(
            self._by_cosine, mean_direction, spec.allowed, [query.excluded], spec.count, self._policy
        )
        ranked = _only_list("titles", lists, None)
        reasons: list[Why | None] = []
        if why and len(ranked.rows):
            shares = attribution.cosine_shares(self.bundle, seeds, ranked.rows, directions)
            reasons = self._reasons.explain(ranked.rows, shares)
        return self._responses.build(ranked, _unknown(query, spec), spec.count, reasons)

    def recommend_many(
        self,
        users: Sequence[UserQuery],
        dial: float | str = 0.0,
        k: int | None = None,
        candidates: Iterable[int] | None = None,
        freshness: float = 0.0,
        is_available_only: bool = False,
    ) -> UserLists:
        """`recommend` for many users at once, without reasons.

        A user's country is a feature of the query only, unless `is_available_only`: then a list holds only titles on
        offer in that country.
        """
        value, count = self._specs.dial_value(dial), self._specs.count(k)
        lists = UserLists(
            np.full((len(users), count), NO_TITLE, dtype=np.int64),
            np.full((len(users), count), -np.inf, dtype=np.float32),
            np.zeros(len(users), dtype=np.bool_),
        )
        groups: dict[str | None, list[int]] = {}
        for n, user in enumerate(users):
            groups.setdefault(user.country if is_available_only else None, []).append(n)
        for country, members in groups.items():
            spec = self._specs.read(country, None, candidates, count, value, freshness)
            for start in range(0, len(members), BATCH_USERS):
                batch = members[start : start + BATCH_USERS]
                queries = [self.look_up(users[n]) for n in batch]
                ranked = self._ranked(queries, spec)
                titles = np.where(ranked.rows == NO_TITLE, NO_TITLE, self.bundle.title_ids[ranked.rows])
                lists.title_ids[batch], lists.scores[batch] = titles, ranked.scores
                lists.is_popular[batch] = [not query.has_likes for query in queries]
        return lists

    def dial_value(self, dial: float | str) -> float:
        """The number behind a named setting of the dial, or a number clipped to the dial's range.

        Raises RequestError for an unknown name or a number that is not finite.
        """
        return self._specs.dial_value(dial)

    def look_up(self, query: UserQuery) -> IndexedQuery:
        """Translate a query's title ids and country to the bundle's rows and country id."""
        return indexed_query.look_up(self.bundle, query)

    def _ranked(self, queries: Sequence[IndexedQuery], spec: ListSpec) -> RankedLists:
        """[users, count]; for a history without likes the query tower gives the cold-user query."""
        embeddings = indexed_query.embed(
            self.bundle, [query.history for query in queries], [query.country for query in queries]
        )
        vectors = self.bundle.queries(embeddings, spec.dial, spec.freshness)
        excluded = [query.excluded for query in queries]
        return planner.best_titles(self._by_score, vectors, spec.allowed, excluded, spec.count, self._policy)

    def _ranked_titles(self, basis: Basis, query: IndexedQuery, spec: ListSpec) -> RankedTitles:
        return _only_list(basis, self._ranked([query], spec), spec.dial)

    def _popular_response(
        self, query: IndexedQuery, country: str | None, spec: ListSpec, reason: str
    ) -> RetrieverResponse:
        where = "everywhere" if country is None else f"among what is on offer in {country}"
        note = f"{reason}: this is what is popular {where}"
        ranked = self._ranked_titles("popular", query, spec)
        return self._responses.build(ranked, _unknown(query, spec), spec.count, note=note)

    def _warm_up(self) -> None:
        """Load everything that is loaded lazily, so that the first request doesn't wait for it."""
        title = int(self.bundle.title_ids[0])
        self.recommend(history=[title], k=1)
        self.similar([title], k=1)
        self.bundle.search(np.zeros((1, self.bundle.manifest.vectors.vector_dim), dtype=np.float32), 1)


def _only_list(basis: Basis, lists: RankedLists, dial: float | None) -> RankedTitles:
    """The only one of `lists`, without its padding."""
    return RankedTitles(basis, *without_padding(lists.rows[0], lists.scores[0]), lists.plan.kind, dial)


def _unknown(query: IndexedQuery, spec: ListSpec) -> Ids:
    """Ids of the history and of the candidates that the bundle lacks."""
    return np.concatenate([query.unknown, spec.unknown])


def _why_popular(history: UserHistory, query: IndexedQuery) -> str:
    if not len(history):
        return "no history"
    if not len(query.history.rows):
        return "no title of the history is known here"
    return "the history holds no likes"
