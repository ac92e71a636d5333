"""Answers from a small bundle, compared with scores of all its titles.

Title n has id 1000 + n, its positives fall with n, every 16th left the guide and the last 20 are new to the model. A
title is on offer in DE where its id is even, in FR where it is a multiple of 3, in US of 4; provider by id and country.
"""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conf.loader import load_settings
from conf.settings import Serving, with_changes
from indexing.bundle.bundle import Bundle
from indexing.errors import RequestError
from indexing.publishing import publication
from indexing.publishing.storage import open_store
from serving import retriever as retriever_module
from serving.retriever import Retriever
from serving.search import planner
from serving.user_history import UserHistory, UserQuery

HISTORY = [(1003, 1.0, 2.0), (1010, 0.6, 5.0), (1040, 1.0, 30.0), (1100, -1.0, 31.0)]


def options(**changes: Any) -> Serving:
    return with_changes(load_settings(), {f"serving.{key}": value for key, value in changes.items()}).serving


@pytest.fixture(scope="module")
def retriever(small_bundle: Bundle) -> Retriever:
    return Retriever(small_bundle, options())


@pytest.fixture(scope="module")
def searching(small_bundle: Bundle) -> Retriever:
    """A retriever that always uses the index."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(planner, "EXACT_PRICE", 1000.0)
        return Retriever(small_bundle, options(exact_max_titles=0))


@pytest.fixture(scope="module")
def expected(small_bundle: Bundle) -> Callable[..., list[tuple[int, float]]]:
    """The best ids and scores by scoring all titles; `may` says by id which ones may be recommended."""

    def rank(
        history: list[tuple[int, float, float]], country: str | None, dial: float, k: int, may: Callable[[int], bool]
    ) -> list[tuple[int, float]]:
        ordered = sorted(history, key=lambda entry: entry[2])
        rows = small_bundle.rows(np.array([entry[0] for entry in ordered])) + 1
        weights, ages = (np.array([[entry[n] for entry in ordered]], dtype=np.float32) for n in (1, 2))
        number = 0 if country is None else small_bundle.countries.get(country, 1)
        embedding = small_bundle.query_tower(rows[None], weights, ages, np.array([number])).numpy()[0]
        popularity = small_bundle.titles["popularity"].to_numpy()
        scores = small_bundle.embeddings @ embedding + dial * popularity
        seen = {entry[0] for entry in history}
        candidate_scores = [
            (int(title_id), float(score))
            for title_id, score in zip(small_bundle.title_ids[: small_bundle.count_candidates], scores, strict=False)
            if title_id not in seen and may(int(title_id))
        ]
        return sorted(candidate_scores, key=lambda pair: -pair[1])[:k]

    return rank


def same(actual: list[tuple[int, float]], expected: list[tuple[int, float]]) -> bool:
    return [pair[0] for pair in actual] == [pair[0] for pair in expected] and np.allclose(
        [pair[1] for pair in actual], [pair[1] for pair in expected], atol=1e-5
    )


def pairs(answer: Any) -> list[tuple[int, float]]:
    return [(item.title_id, item.score) for item in answer.items]


@pytest.mark.parametrize("dial", [0.0, 0.2, "gems"])
def test_best_titles_come_first_without_those_of_the_history(
    retriever: Retriever, searching: Retriever, expected: Callable[..., list[tuple[int, float]]], dial: float | str
) -> None:
    value = retriever.bundle.manifest.dial.settings[dial] if isinstance(dial, str) else dial
    best = expected(HISTORY, None, value, 12, lambda _: True)
    for one, plan in ((retriever, "exact"), (searching, "search")):
        answer = one.recommend(HISTORY, dial=dial, k=12)
        assert same(pairs(answer), best)
        assert (answer.basis, answer.plan, answer.note) == ("history", plan, None)
        assert answer.dial == pytest.approx(value)
        assert [item.rank for item in answer.items] == list(range(1, 13))
        assert {answer.bundle_version, answer.model_version} == {"20240514T000000Z-m7", 7}


def test_availability_is_exact(
    retriever: Retriever, searching: Retriever, expected: Callable[..., list[tuple[int, float]]]
) -> None:
    in_germany = expected(HISTORY, "DE", 0.0, 10, lambda title_id: title_id % 2 == 0)
    # Country n of DE, FR, US has a title with provider (id + n) % 3 of alpha, beta, gamma.
    by_alpha = expected(HISTORY, "FR", 0.0, 10, lambda title_id: title_id % 3 == 0 and (title_id + 1) % 3 == 0)
    by_beta = expected(HISTORY, "FR", 0.0, 10, lambda title_id: title_id % 3 == 0)
    assert by_alpha == []
    for one in (retriever, searching):
        assert same(pairs(one.recommend(HISTORY, country="DE", k=10)), in_germany)
        assert one.recommend(HISTORY, country="FR", providers=["alpha"], k=10).items == ()
        assert same(pairs(one.recommend(HISTORY, country="FR", providers=["beta", "alpha"], k=10)), by_beta)


def test_never_fewer_than_k_while_k_may_be_recommended(retriever: Retriever, searching: Retriever) -> None:
    listed = {1000 + n for n in range(320) if n % 16 != 15}
    in_us = {title_id for title_id in listed if title_id % 4 == 0}
    left_out = sorted(in_us)[3:40]
    for one in (retriever, searching):
        answer = one.recommend([1001], country="US", exclude=left_out, k=300)
        assert {item.title_id for item in answer.items} == in_us - set(left_out)
        assert answer.note == f"no more than {len(in_us) - 37} titles may be recommended here"
        assert len(one.recommend([1001], country="US", exclude=left_out, k=20).items) == 20


def test_titles_that_left_the_guide_count_in_histories_but_are_not_recommended(retriever: Retriever) -> None:
    gone = 1015
    answer = retriever.recommend([gone, 1003], k=300)
    assert answer.unknown_title_ids == ()
    assert len(answer.items) == 299  # all 300 but 1003
    assert not {1000 + n for n in range(15, 320, 16)} & {item.title_id for item in answer.items}
    assert pairs(answer) != pairs(retriever.recommend([1003], k=300))


def test_candidates_restrict_the_list(
    retriever: Retriever, searching: Retriever, expected: Callable[..., list[tuple[int, float]]]
) -> None:
    chosen = [1300, 1302, 1306, 1301, 1015, 1003, 99]  # 1015 left, 1003 was seen, 99 is no title
    of_all = expected(HISTORY, None, 0.0, 5, lambda title_id: title_id in {1300, 1301, 1302, 1306})
    for one in (retriever, searching):
        answer = one.recommend(HISTORY, candidates=chosen, k=5)
        assert same(pairs(answer), of_all)
        assert answer.unknown_title_ids == (99,)
    # In DE only titles on offer there are recommended.
    items = retriever.recommend(HISTORY, candidates=chosen, country="DE", k=5).items
    assert {item.title_id for item in items} == {1300, 1302, 1306}


def test_unknown_titles_are_reported_and_ignored(retriever: Retriever) -> None:
    answer = retriever.recommend([5, 1003, 7], exclude=[8], k=5)
    assert pairs(answer) == pairs(retriever.recommend([1003], k=5))
    assert answer.unknown_title_ids == (5, 7)


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        ([], "no history"),
        ([5], "no title of the history is known here"),
        ([(1002, -1.0, 3.0)], "the history holds no likes"),
    ],
)
def test_user_without_likes_gets_popular_titles_on_offer(
    retriever: Retriever, expected: Callable[..., list[tuple[int, float]]], history: list[Any], reason: str
) -> None:
    answer = retriever.recommend(history, country="DE", k=3, dial="gems")
    gems = retriever.bundle.manifest.dial.settings["gems"]
    entries = [entry for entry in history if isinstance(entry, tuple)]
    assert same(pairs(answer), expected(entries, "DE", gems, 3, lambda title_id: title_id % 2 == 0))
    assert (answer.basis, answer.dial) == ("popular", pytest.approx(gems))
    assert answer.note == f"{reason}: this is what is popular among what is on offer in DE"
    assert all(item.why is None for item in answer.items)
    assert retriever.recommend(k=2).note == "no history: this is what is popular everywhere"


def test_contribution_is_the_loss_of_score_without_the_title(retriever: Retriever) -> None:
    history = HISTORY[:3]
    answer = retriever.recommend(history, k=300, country="DE")
    whole = {item.title_id: item for item in answer.items}
    for left_out in range(3):
        rest = [entry for n, entry in enumerate(history) if n != left_out]
        without = dict(pairs(retriever.recommend(rest, k=300, country="DE", why=False)))
        title_id = history[left_out][0]
        for other, item in whole.items():
            reasons = {} if item.why is None else {reason.title_id: reason.contribution for reason in item.why.titles}
            lost = item.score - without[other]
            assert reasons.get(title_id, 0.0) == pytest.approx(max(lost, 0.0), abs=1e-5)


def test_reasons_name_shared_genres_and_people(retriever: Retriever) -> None:
    titles = {row["title_id"]: row for row in retriever.bundle.titles.to_pylist()}
    explained = [item for item in retriever.recommend(HISTORY, k=50).items if item.why]
    assert explained
    for item in explained:
        assert item.why is not None
        values = [reason.contribution for reason in item.why.titles]
        assert values == sorted(values, reverse=True)
        assert min(values) > 0
        assert 1100 not in [reason.title_id for reason in item.why.titles]  # a dislike is no reason
        facts = titles[item.title_id]
        others = [titles[reason.title_id] for reason in item.why.titles]
        assert set(item.why.genres) == {name for name in facts["genres"] if any(name in o["genres"] for o in others)}
        people = {name for o in others for name in o["cast"] + o["directors"]}
        assert set(item.why.people) == people & set(facts["cast"] + facts["directors"])


def test_of_a_long_history_the_nearest_titles_are_left_out(
    small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retriever_module, "REASON_HISTORY_TITLES", 2)
    few = Retriever(small_bundle, options())
    history = [1000 + n for n in range(0, 300, 20) if n % 16 != 15]
    [item] = few.recommend(history, k=1).items
    embeddings = small_bundle.embeddings[small_bundle.rows(np.array([item.title_id, *history]))]
    likeness = embeddings[1:] @ embeddings[0]
    nearest = {history[n] for n in np.argsort(-likeness)[:2]}
    assert item.why is not None
    assert {reason.title_id for reason in item.why.titles} <= nearest


def test_similar_titles_by_the_mean_cosine(retriever: Retriever, searching: Retriever) -> None:
    bundle = retriever.bundle
    seeds = [1003, 1015]
    unit = bundle.embeddings / np.linalg.norm(bundle.embeddings, axis=1, keepdims=True)
    cosines = unit @ unit[bundle.rows(np.array(seeds))].T  # [titles, seeds]
    scores = {int(i): float(s) for i, s in zip(bundle.title_ids[:300], cosines[:300].mean(axis=1), strict=True)}
    best = sorted((pair for pair in scores.items() if pair[0] not in seeds), key=lambda pair: -pair[1])[:8]
    for one in (retriever, searching):
        answer = one.similar(seeds, k=8)
        assert same(pairs(answer), best)
        assert (answer.basis, answer.dial) == ("titles", None)
        for item in answer.items:
            parts = {seed: cosines[bundle.rows(np.array([item.title_id]))[0], n] / 2 for n, seed in enumerate(seeds)}
            contributions = (
                {} if item.why is None else {reason.title_id: reason.contribution for reason in item.why.titles}
            )
            assert contributions == pytest.approx({seed: part for seed, part in parts.items() if part > 0}, abs=1e-5)
    in_us = retriever.similar(seeds, country="US", k=300)
    assert all(item.title_id % 4 == 0 for item in in_us.items)


def test_similar_to_unknown_titles_is_popular(retriever: Retriever) -> None:
    answer = retriever.similar([5], country="DE", k=2)
    assert pairs(answer) == pairs(retriever.recommend(country="DE", k=2))
    assert answer.basis == "popular"
    assert answer.note == "none of the titles is known here: this is what is popular among what is on offer in DE"
    assert answer.unknown_title_ids == (5,)


def test_unreleased_titles_are_flagged(retriever: Retriever) -> None:
    # Title n is released 10 · (n - 316) days after the bundle's day.
    items = retriever.recommend([1003], candidates=range(1310, 1320), k=10).items
    assert {item.title_id for item in items if item.is_unreleased} == {1317, 1318}
    assert {item.title_id for item in items} == set(range(1310, 1319))  # 1319 left


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"dial": "loud"}, "dial"),
        ({"dial": float("nan")}, "dial"),
        ({"k": 0}, "k"),
        ({"k": 1001}, "k"),
        ({"providers": ["alpha"]}, "providers"),
        ({"exclude": ["x"]}, "exclude"),
    ],
)
def test_invalid_argument_is_refused_by_field(retriever: Retriever, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as refused:
        retriever.recommend([1003], **arguments)
    assert refused.value.field == field


def test_dial_is_clipped_to_its_range(retriever: Retriever) -> None:
    known = retriever.bundle.manifest.dial
    assert retriever.recommend([1003], dial=1e9, k=1).dial == pytest.approx(known.maximum)
    assert retriever.recommend([1003], dial=-1e9, k=1).dial == pytest.approx(known.minimum)


def test_many_users_get_the_lists_of_single_calls(small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retriever_module, "BATCH_USERS", 2)
    retriever = Retriever(small_bundle, options())
    histories = [HISTORY, [], [1200, 1201], [5], HISTORY[:1]]
    countries = ["DE", "FR", None, "DE", "US"]
    queries = [UserQuery(UserHistory.from_entries(h), c) for h, c in zip(histories, countries, strict=True)]
    queries[2] = dataclasses.replace(queries[2], excluded=np.array([1000, 1002, 1004]))
    lists = retriever.recommend_many(queries, dial=0.3, k=4)
    assert lists.is_popular.tolist() == [False, True, False, True, False]
    everywhere = retriever.recommend(histories[2], dial=0.3, k=4, exclude=[1000, 1002, 1004])
    assert same(list(zip(lists.title_ids[2], lists.scores[2], strict=True)), pairs(everywhere))

    on_offer = retriever.recommend_many(queries, dial=0.3, k=4, is_available_only=True)
    for user, (history, country) in enumerate(zip(histories, countries, strict=True)):
        if country is not None:
            alone = retriever.recommend(history, country=country, dial=0.3, k=4)
            assert same(list(zip(on_offer.title_ids[user], on_offer.scores[user], strict=True)), pairs(alone))


def test_lists_of_many_are_padded(retriever: Retriever) -> None:
    lists = retriever.recommend_many([UserQuery(UserHistory.from_entries([1003]))], k=3, candidates=[1003, 1005])
    assert lists.title_ids.tolist() == [[1005, -1, -1]]
    assert lists.scores[0, 1:].tolist() == [-np.inf, -np.inf]


def test_opened_by_folder_or_as_the_live_bundle_of_a_root(small_bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(small_bundle.folder, tmp_path / small_bundle.version)
    publication.publish(open_store(str(tmp_path), str(tmp_path / "copies")), None)
    by_folder = Retriever.open(small_bundle.folder).recommend([1003], k=3)
    assert Retriever.open(tmp_path).recommend([1003], k=3) == by_folder
