"""The popularity dial: its effect on scores, its measurement, and the choice of named settings."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from conf.loader import load_settings
from conf.settings import Settings, with_changes
from lake.arrays import NO_TITLE
from models import dial
from models.errors import ModelError
from models.evaluation import dial_curve, dial_settings, plots
from models.evaluation.dial_points import DialPoint, pareto_front
from models.evaluation.evaluation_set import EvaluationSet
from models.tracking import registry

POINT = DialPoint(0.0, 0.3, 0.2, 0.5, 50.0, 0.1, 0.02, 0.8, 3.0)
SETTINGS = load_settings()


def evaluation_set_of(
    histories: np.ndarray, relevant: np.ndarray, candidates: Sequence[bool] | None = None
) -> EvaluationSet:
    users, titles = relevant.shape
    return EvaluationSet(
        name="hand",
        user_ids=[f"u{n}" for n in range(users)],
        countries=[None] * users,
        histories=sparse.csr_matrix(histories.astype(np.float32)),
        history_ages_days=np.ones(int(histories.sum())),
        relevant=sparse.csr_matrix(relevant.astype(np.float32)),
        ignored=sparse.csr_matrix((users, titles), dtype=np.float32),
        ages_days=np.zeros(int(relevant.sum())),
        candidates=np.ones(titles, dtype=np.bool_) if candidates is None else np.array(candidates),
    )


def test_a_setting_adds_deviations_of_the_user_s_scores() -> None:
    random = np.random.default_rng(1)
    # Users with scores on different scales are turned alike.
    scores = (random.normal(size=(40, 12)) * random.uniform(0.1, 100, (40, 1))).astype(np.float32)
    counts = random.integers(1, 100, 12)
    counts[7] = 0
    candidates = np.arange(12) != 5
    evaluation_set = evaluation_set_of(random.random((40, 12)) < 0.2, np.ones((40, 12)), candidates)
    turned = dial_curve.recommend_at_dials(scores.__getitem__, evaluation_set, counts, "log", (-0.8, 0.0, 0.5), 4)
    logs, known = np.log(1 + counts.astype(float)), candidates & (counts > 0)
    standard = (logs - logs[known].mean()) / logs[known].std()
    standard[7] = 0  # without likes
    for dialled, lists in zip(turned.dials, turned.lists, strict=True):
        for user in range(40):
            deviation = scores[user][candidates].astype(float).std()
            slow = scores[user].astype(float) + dialled * deviation * standard
            allowed = [t for t in range(12) if candidates[t] and not evaluation_set.histories[user, t]]
            best = sorted(allowed, key=lambda t, slow=slow: -slow[t])[:4]  # type: ignore[misc]
            assert lists[user].tolist() == (best + [NO_TITLE] * 4)[:4]
            assert turned.spreads[user] == pytest.approx(deviation, rel=1e-4)
    assert turned.spread == pytest.approx(np.median([row[candidates].std() for row in scores]), rel=1e-4)


def test_points_by_hand() -> None:
    # Likes 8, 4, 2, 0: 8 is more than half of 14, 8 + 4 more than .8, so that the third is the tail.
    counts = np.array([8, 4, 2, 0])
    scores = np.array([[3.0, 2, 1, 0], [0, 1, 2, 3]], dtype=np.float32)
    evaluation_set = evaluation_set_of(np.zeros((2, 4)), np.array([[1, 0, 1, 0], [0, 0, 1, 0]]))
    options = SETTINGS.evaluation.model_copy(update={"k": (2,)})
    turned = dial_curve.recommend_at_dials(scores.__getitem__, evaluation_set, counts, "log", (0.0,), 2)
    [point] = dial_curve.measure_points(turned, evaluation_set, counts, 9, options)
    # Lists: titles 0, 1 and 3, 2. Hits: one of two positives, one of one; of the tail's none and one.
    assert (point.recall, point.tail_recall, point.coverage) == (0.75, 0.5, 1.0)
    first = 1 / (1 + 1 / np.log2(3))  # the first of two wanted hits, at rank 1
    assert point.ndcg == pytest.approx((first + 1 / np.log2(3)) / 2)
    assert (point.mean_popularity, point.cold_share, point.gini) == ((6 + 1) / 2, 0.25, 0)
    assert point.novelty == pytest.approx(-np.log2(np.array([0.9, 0.5, 0.1, 0.3])).mean())


def test_without_positives_of_the_tail_its_recall_is_not_known() -> None:
    evaluation_set = evaluation_set_of(np.zeros((1, 3)), np.array([[1, 0, 0]]))
    turned = dial_curve.recommend_at_dials(
        np.ones((1, 3), np.float32).__getitem__, evaluation_set, np.array([3, 1, 0]), "log", (0.0,), 2
    )
    assert np.isnan(
        dial_curve.measure_points(turned, evaluation_set, np.array([3, 1, 0]), 3, SETTINGS.evaluation)[0].tail_recall
    )


def points_of(*rows: tuple[float, float, float, float, float, float]) -> list[DialPoint]:
    names = ("dial", "recall", "ndcg", "coverage", "mean_popularity", "novelty")
    return [replace(POINT, **dict(zip(names, row, strict=True))) for row in rows]


def test_settings_are_named_by_their_loss_and_gain() -> None:
    # At most 5 % below the best recall of .30 is .285, at most 15 % is .255.
    points = points_of(
        (-1.0, 0.250, 0.16, 0.99, 10.0, 5.0),
        (-0.7, 0.260, 0.17, 0.95, 20.0, 4.5),
        (-0.4, 0.286, 0.18, 0.90, 30.0, 4.0),
        (-0.2, 0.300, 0.19, 0.80, 40.0, 3.5),
        (0.0, 0.299, 0.20, 0.70, 50.0, 3.0),
        (0.5, 0.285, 0.19, 0.60, 60.0, 2.5),
        (0.9, 0.284, 0.18, 0.50, 70.0, 2.0),
    )
    chosen = {name: point.dial for name, point in dial_settings.choose(points, SETTINGS.dial).items()}
    assert chosen == {"popular": 0.5, "balanced": 0.0, "discover": -0.4, "gems": -0.7}
    stored = dial_settings.for_index(SETTINGS, points, 2.0, "a test")
    reach = SETTINGS.index.dial_reach
    assert stored["settings"] == {"popular": 1.0, "balanced": 0.0, "discover": -0.8, "gems": -1.4}
    assert (stored["minimum"], stored["maximum"]) == (-2 * reach, 2 * reach)
    assert stored["source"].endswith("in units of 2; measured by a test")


def test_balanced_is_the_broadest_setting_with_little_loss() -> None:
    points = points_of(
        (-0.4, 0.30, 0.197, 0.9, 30.0, 4.0),
        (-0.2, 0.30, 0.199, 0.8, 40.0, 3.5),
        (0.0, 0.30, 0.199, 0.7, 50.0, 3.0),
        (0.2, 0.30, 0.200, 0.6, 60.0, 2.5),
    )
    chosen = {
        share: dial_settings.choose(points, SETTINGS.dial.model_copy(update={"balanced_max_loss_share": share}))
        for share in (0.0, 0.01, 0.02)
    }
    assert [named["balanced"].dial for named in chosen.values()] == [0.2, -0.2, -0.4]


def test_named_settings_keep_their_order_despite_noise() -> None:
    # The best NDCG is at -.4; more coverage at 0, and more likes at -.8, are on the wrong sides of it.
    points = points_of(
        (-0.8, 0.30, 0.18, 0.5, 90.0, 2.0), (-0.4, 0.30, 0.20, 0.6, 50.0, 3.0), (0.0, 0.30, 0.19, 0.9, 40.0, 4.0)
    )
    chosen = {name: point.dial for name, point in dial_settings.choose(points, SETTINGS.dial).items()}
    assert chosen == {"popular": -0.4, "balanced": -0.4, "discover": -0.4, "gems": -0.4}
    alike = [replace(POINT, dial=value) for value in (-1.0, 0.25, -0.25, 1.0)]
    assert {point.dial for point in dial_settings.choose(alike, SETTINGS.dial).values()} <= {0.25, -0.25}
    with pytest.raises(ModelError, match=r"no settings of the dial were measured"):
        dial_settings.choose([], SETTINGS.dial)


def test_between_a_named_setting_and_the_next_one_further_out_is_measured_too() -> None:
    points = points_of(
        (-1.0, 0.250, 0.16, 0.99, 10.0, 5.0),
        (-0.6, 0.260, 0.17, 0.95, 20.0, 4.5),
        (-0.4, 0.286, 0.18, 0.90, 30.0, 4.0),
        (0.0, 0.300, 0.20, 0.70, 50.0, 3.0),
        (0.5, 0.299, 0.19, 0.60, 60.0, 2.5),
    )
    # discover ends at -.4 and gems at -.6; popular is the last that was measured.
    assert dial_settings.refine_dials(points, SETTINGS.dial) == [pytest.approx(-0.8), pytest.approx(-0.5)]


def test_refinement_finds_the_largest_loss_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    # One user; popularity pushes the only positive, the least popular title, down the list from some setting on.
    random = np.random.default_rng(11)
    scores = random.normal(size=(400, 30)).astype(np.float32)
    counts = np.arange(30)[::-1] ** 2
    relevant = np.zeros((400, 30))
    relevant[np.arange(400), scores.argmax(axis=1)] = 1
    evaluation_set = evaluation_set_of(np.zeros((400, 30)), relevant)
    settings = with_changes(SETTINGS, {"evaluation.k": [5], "dial.values": [-1.0, 0.0, 1.0]})
    monkeypatch.setattr(dial_settings, "REFINEMENTS", 4)
    turned, points = dial_settings.measure(scores.__getitem__, evaluation_set, counts, 900, settings)
    assert [point.dial for point in points] == list(turned.dials) == sorted(turned.dials)
    assert len(turned.lists) == len(points) == len(set(turned.dials))
    again = dial_curve.measure_points(turned, evaluation_set, counts, 900, settings.evaluation)
    assert again == points  # each list stands beside its own dial
    recalls = {point.dial: point.recall for point in points}
    popular = dial_settings.choose(points, settings.dial)["popular"].dial
    further = min(dial for dial in recalls if dial > popular)
    # A sixteenth of the way from 0 to 1 apart, one costs at most 5 % and the next one more.
    assert further - popular == pytest.approx(1 / 16)
    assert recalls[popular] >= 0.95 * max(recalls.values()) > recalls[further]


def test_the_front_holds_points_that_no_other_beats_in_both() -> None:
    points = points_of(
        (0, 0.3, 0, 0.5, 50, 0), (1, 0.2, 0, 0.4, 20, 0), (2, 0.1, 0, 0.9, 90, 0), (3, 0.1, 0, 0.9, 80, 0)
    )
    assert pareto_front(points, "recall", "coverage", less_is_more=False) == [True, False, True, True]
    assert pareto_front(points, "recall", "mean_popularity", less_is_more=True) == [
        True,
        True,
        False,
        False,
    ]


def test_the_front_is_drawn_for_every_figure(tmp_path: Path) -> None:
    curves = {"new": points_of((-1, 0.2, 0.1, 0.9, 20, 4), (0, 0.3, 0.2, 0.5, 50, 3)), "als": [POINT]}
    figure = plots.dial_front(curves, {"balanced": curves["new"][1]}, 20)
    labels = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert labels == ["coverage@20", "gini@20", "mean popularity@20", "tail recall@20", "novelty@20"]
    first = figure.axes[0]
    assert [np.asarray(line.get_xdata()).tolist() for line in first.get_lines() if line.get_label() in curves] == [
        [0.9, 0.5],
        [0.5],
    ]
    assert [text.get_text() for text in first.texts] == ["balanced"]
    figure.savefig(tmp_path / "dial.png")
    assert (tmp_path / "dial.png").read_bytes().startswith(b"\x89PNG")


def test_settings_beyond_the_reach_of_the_index_are_refused() -> None:
    with pytest.raises(ValueError, match=r"dial.values \[-3.0\] lie beyond index.dial_reach 1.5"):
        with_changes(SETTINGS, {"dial.values": [-3.0, 0.0, 1.0], "index.dial_reach": 1.5})


@pytest.fixture(scope="module")
def drawn(registered: Settings, tiny_command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dial")
    assert dial.main([*tiny_command, "--out", str(out), "--keep"]) == 0
    return out


def test_the_command_writes_both_models_at_every_setting(drawn: Path, trained: Any) -> None:
    points = pd.read_csv(drawn / "dial.csv")
    old, ours = points.groupby("model")["dial"].apply(list)
    assert old == ours == sorted(ours)
    assert set(SETTINGS.dial.values) <= set(ours)
    # Each time at most three settings are added: where discover, gems and popular end.
    assert len(SETTINGS.dial.values) < len(ours) <= len(SETTINGS.dial.values) + 3 * dial_settings.REFINEMENTS
    named = points[points["setting"].notna()]
    assert set(named["model"]) == {"challenger"}
    assert sorted(" ".join(named["setting"]).split()) == ["balanced", "discover", "gems", "popular"]
    groups = pd.read_csv(drawn / "calibration.csv")
    assert len(groups) == len(points) * groups["group"].nunique()
    all_users = groups[groups["group"] == "all"]
    assert (all_users["count_users"] == trained.lake.users).all()


def test_chosen_settings_are_stored_for_the_bundle(drawn: Path, registered: Settings) -> None:
    text = (drawn / "dial.json").read_text()
    assert set(json.loads(text)["settings"]) == {"popular", "balanced", "discover", "gems"}
    assert registry.kept_text(registered, "challenger", "dial.json") == text
    assert registry.kept_text(registered, "challenger", "dial/validation/dial.json") == text
    assert registry.kept_text(registered, "challenger", "nothing.json") is None
    assert "challenger" in (registry.kept_text(registered, "challenger", "dial/validation/dial.csv") or "")


def test_an_unknown_model_ends_with_one_clear_line(
    tiny_command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dial.main([*tiny_command, "--out", str(tmp_path), "--model", "champion"]) == 1
    assert "no champion is registered" in capsys.readouterr().err
