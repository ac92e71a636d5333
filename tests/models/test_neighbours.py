"""Titles near to others: what is measured, beside loops, and two tastes told apart in the terminal."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from scipy import sparse

from conf.settings import Settings
from lake.arrays import NO_TITLE, Ids
from models import neighbours
from models.blend.two_tower import CatalogueModel
from models.data.padded_histories import pad_newest_first
from models.evaluation.evaluation_set import EvaluationSet

GROUPS = np.array(["head", "head", "mid", "tail", "unseen"])


def evaluation_set_of(relevant: np.ndarray) -> EvaluationSet:
    users = len(relevant)
    empty = sparse.csr_matrix(relevant.shape, dtype=np.float32)
    ids: list[str] = [f"u{n}" for n in range(users)]
    positives = sparse.csr_matrix(relevant.astype(np.float32))
    every = np.ones(relevant.shape[1], dtype=np.bool_)
    return EvaluationSet(
        "hand", ids, [None] * users, empty, np.empty(0), positives, empty, np.zeros(positives.nnz), every
    )


def test_what_was_liked_together_by_hand() -> None:
    # Of 0 the neighbours are 1 and 2, of all others 0. The third user has one positive and says nothing.
    lists = {0: [1, 2]}

    def near(position: int, count: int) -> Ids:
        return np.array([*lists.get(position, [0]), NO_TITLE, NO_TITLE][:count])

    evaluation_set = evaluation_set_of(np.array([[1, 1, 0, 1, 0], [1, 0, 1, 0, 0], [0, 0, 0, 0, 1]]))
    found = {row.group: row for row in neighbours.co_liked(near, evaluation_set, GROUPS, 2)}
    # From 0: one of the two others of the first user, the only one of the second; from 1, 2 and 3: 0, of 2, 1 and 2.
    assert {name: row.count_pairs for name, row in found.items()} == {"head": 3, "mid": 1, "tail": 1, "all": 5}
    assert found["head"].recall == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert (found["mid"].recall, found["tail"].recall) == (1, 0.5)
    # Three hits from the head. By chance: both users like 0, half of them 1 and half 2: 1 hit twice from 0, 1 from 1.
    assert found["head"].lift == pytest.approx(3 / 3)
    assert found["all"].recall == pytest.approx((2 + 1 + 0.5) / 5)


def test_as_loops_over_users_find() -> None:
    random = np.random.default_rng(2)
    evaluation_set = evaluation_set_of((random.random((25, 12)) < 0.3) | (np.arange(12) == 0))
    groups = random.choice(["head", "mid", "tail"], 12)
    lists = {title: random.permutation(np.delete(np.arange(12), title))[:4] for title in range(12)}
    found = {row.group: row for row in neighbours.co_liked(lambda n, k: lists[n][:k], evaluation_set, groups, 3)}
    liked = [set(row.indices.tolist()) for row in evaluation_set.relevant if row.nnz > 1]
    popularity = {title: np.mean([title in own for own in liked]) for title in range(12)}
    for group, row in found.items():
        shares, hits, expected = [], 0, 0.0
        for own in liked:
            for title in own:
                if group not in (groups[title], "all"):
                    continue
                near = lists[title][:3].tolist()
                shares.append(len(own & set(near)) / (len(own) - 1))
                hits += len(own & set(near))
                expected += float(sum(popularity[other] for other in near))
        assert row.count_pairs == len(shares)
        assert row.recall == pytest.approx(np.mean(shares))
        assert row.lift == pytest.approx(hits / expected)


def test_likeness_by_tastes_is_the_covariance_of_scores(trained: Any) -> None:
    catalogue, model = trained.inputs.catalogue, trained.model
    bound = CatalogueModel(model, catalogue)
    histories = pad_newest_first(trained.inputs.train.liked, None, None, model.history_length)
    candidates = np.arange(len(catalogue)) != 4
    near = neighbours.near_by_tastes(bound, histories, candidates)
    scores = bound.queries(histories).astype(float) @ bound.vectors.T.astype(float)
    for position in (0, 17):
        slow = np.array(
            [np.cov(scores[:, position], scores[:, n])[0, 1] / scores[:, n].std() ** 0.5 for n in range(18)]
        )
        slow[[position, 4]] = -np.inf
        assert near(position, 20).tolist() == [*np.argsort(-slow)[:16].tolist(), *[NO_TITLE] * 4]


@pytest.mark.parametrize("way", ["tastes", "query"])
def test_a_new_title_is_near_to_those_of_its_taste(trained: Any, way: str) -> None:
    catalogue, model = trained.inputs.catalogue, trained.model
    bound = CatalogueModel(model, catalogue)
    histories = pad_newest_first(trained.inputs.train.liked, None, None, model.history_length)
    every = np.ones(18, dtype=np.bool_)
    by_tastes, by_query = neighbours.near_by_tastes(bound, histories, every), neighbours.near_by_query(bound, every)
    ways = {"tastes": by_tastes, "query": by_query}
    for position in (16, 17):  # nobody liked these
        found = ways[way](position, 8)
        assert position not in found
        assert (found % 2 == position % 2).all()


def test_old_and_new_stand_side_by_side(
    registered: Settings, tiny_command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    columns = {
        "title_id": [100 + n for n in range(18)],
        "title": [f"{'Odd' if n % 2 else 'Even'} {n}" for n in range(18)],
        "release_year": pa.array([2024] * 18, pa.int32()),
        "release_date": pa.array([None] * 18, pa.date32()),
    }
    write_deltalake(str(Path(registered.lake.root) / "stg_titles"), pa.table(columns), mode="overwrite")
    assert neighbours.main([*tiny_command, "even 0", "Odd 17 (2024)", "--count", "4"]) == 0
    shown = capsys.readouterr().out
    first, second = re.split(r"more like Odd 17 \(2024\), liked by 0", shown)
    assert "more like Even 0 (2024), liked by" in first
    assert "Odd" not in first.split("liked by", 1)[1]
    # The old one knows nothing of a new title, so its column is empty.
    assert len(re.findall(r"Odd \d+", second)) == 4
    assert "Even" not in second

    assert neighbours.main([*tiny_command, "Oddly"]) == 1
    assert "no title is called 'Oddly'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as wrong:
        neighbours.main(tiny_command)
    assert wrong.value.code == 2


def test_ways_are_measured_on_what_was_held_out(
    registered: Settings, tiny_command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [f"u{user:03},{100 + user % 2 + 2 * n}" for user in range(12) for n in range(9)]
    (tmp_path / "truth.csv").write_text("\n".join(["user_id,title_id", *pairs]))
    arguments = ["--measure", "--truth", str(tmp_path / "truth.csv"), "--set", "evaluation.k=[5]"]
    assert neighbours.main([*tiny_command, *arguments]) == 0
    shown = capsys.readouterr().out
    # Everybody likes all of a side: five neighbours of that side are five of the eight others, twice what chance finds.
    assert re.search(r"challenger, tastes │ all .* 0\.6250 │ 2\.00", shown)
    assert re.search(r"als +│ unseen .* 0\.0000 │ +nan", shown)
