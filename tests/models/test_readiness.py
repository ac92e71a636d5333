"""Readiness of new titles: against loops over known ones, and as a work list for editors."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from conf.settings import Settings
from models import readiness
from models.data.content import Content
from models.errors import ModelError
from models.linear.content_kernel import features, fit_kernel_ridge, gaussian_kernel, select
from models.linear.leave_one_out import fit_leave_one_out
from models.studies import content_evidence, metadata_fields
from models.studies.content_evidence import Evidence, Readiness

OPTIONS = {"kernel_power": 2.0, "spread_width": 0.5}
COUNT_KNOWN, LENGTH_SCALE = 30, 1.2


def content_of() -> tuple[Content, np.ndarray]:
    """34 titles; plots determine the target nearly, posters a little; the last four are new."""
    random = np.random.default_rng(8)
    plots, posters = random.normal(size=(34, 3)), random.normal(size=(34, 2))
    has_poster = np.arange(34) % 5 != 0
    has_plot = np.ones(34, dtype=np.bool_)
    has_plot[[3, 32]] = False
    targets = plots @ random.normal(size=(3, 4)) + 0.3 * posters @ random.normal(size=(2, 4))
    blocks = {"plot": plots * has_plot[:, None], "poster": posters * has_poster[:, None]}
    content = Content(
        {name: block.astype(np.float32) for name, block in blocks.items()}, {"plot": has_plot, "poster": has_poster}
    )
    return content, targets


@pytest.fixture(scope="module")
def parts() -> tuple[Evidence, Content, np.ndarray, np.ndarray, np.ndarray]:
    content, targets = content_of()
    known = np.arange(COUNT_KNOWN)
    noise = np.full(COUNT_KNOWN, 0.2)
    metric = np.random.default_rng(9).normal(size=(4, 12))
    fitted = fit_leave_one_out(select(features(content), known), targets[known], noise, LENGTH_SCALE)
    return Evidence(fitted, content, known, metric, **OPTIONS), content, targets, noise, metric


def without(content: Content, titles: np.ndarray, fields: set[str]) -> Any:
    rows = select(features(content), titles)
    return metadata_fields.leave_out(rows, content, {"plot", "poster"} - fields)


def slow_agreement(parts: Any, fields: set[str]) -> tuple[np.ndarray, np.ndarray]:
    """Agreement and the deviation of predicted scores, with a ridge for each title."""
    _, content, targets, noise, metric = parts
    agreements, spreads = [], []
    for title in range(COUNT_KNOWN):
        others = np.delete(np.arange(COUNT_KNOWN), title)
        rows = select(features(content), others)
        ridge = fit_kernel_ridge(rows, targets[others], noise[others], LENGTH_SCALE)
        scores = (ridge.predict(without(content, np.array([title]), fields)) @ metric)[0]
        agreements.append(np.corrcoef(scores, targets[title] @ metric)[0, 1])
        spreads.append(scores.std())
    return np.array(agreements), np.array(spreads)


@pytest.mark.parametrize("fields", [{"plot", "poster"}, {"plot"}, set()])
def test_agreement_is_the_correlation_of_scores_had_a_title_been_new(parts: Any, fields: set[str]) -> None:
    evidence = parts[0]
    expected, spreads = slow_agreement(parts, fields)
    np.testing.assert_allclose(evidence.agreement(fields), expected, rtol=1e-6)
    np.testing.assert_allclose(np.exp(evidence.known(fields).log_spreads), spreads, rtol=1e-6)


def test_readiness_is_the_agreement_of_similar_titles_with_the_same_fields(parts: Any) -> None:
    evidence, content, targets, noise, metric = parts
    new = np.array([30, 31, 32])  # 30 has no poster, 32 no plot
    judged = content_evidence.judge(evidence, features(content), content, new)
    assert [sorted(one.fields) for one in judged] == [["plot"], ["plot", "poster"], ["poster"]]
    ridge = fit_kernel_ridge(select(features(content), np.arange(COUNT_KNOWN)), targets[:30], noise, LENGTH_SCALE)
    has = {field: flags[:COUNT_KNOWN] for field, flags in content.present.items()}
    for one in judged:
        fields = set(one.fields)
        agreement, spreads = slow_agreement(parts, fields)
        rows = without(content, np.array([one.row]), fields)
        scores = (ridge.predict(rows) @ metric)[0]
        kernel = gaussian_kernel(rows, without(content, np.arange(COUNT_KNOWN), fields), LENGTH_SCALE)[0]
        weights = kernel**2 * np.exp(-0.5 * (np.log(scores.std() / spreads) / 0.5) ** 2)
        weights *= np.all([has[field] for field in fields], axis=0)
        assert one.readiness == pytest.approx(weights @ agreement / weights.sum())
        for field in {"plot", "poster"} - fields:
            gained = slow_agreement(parts, fields | {field})[0] - agreement
            assert one.gains[field] == pytest.approx((weights * has[field]) @ gained / (weights * has[field]).sum())
        for field in fields:
            moved = (ridge.predict(without(content, np.array([one.row]), fields - {field})) @ metric)[0]
            assert one.moves[field] == pytest.approx(1 - np.corrcoef(moved, scores)[0, 1])
        assert set(one.gains) | set(one.moves) == {"plot", "poster"}


def test_the_most_informative_field_would_help_most(parts: Any) -> None:
    evidence, content, *_ = parts
    with_plot, _, without_plot = content_evidence.judge(evidence, features(content), content, np.array([30, 31, 32]))
    assert without_plot.best_field == "plot"
    assert without_plot.gains["plot"] > 0.3 > with_plot.gains["poster"]
    assert with_plot.readiness > without_plot.readiness + 0.3


def test_readiness_is_unknown_where_no_known_title_has_the_fields(parts: Any) -> None:
    assert Readiness(1, frozenset(), 0.5, {"plot": -0.1, "poster": float("nan")}, {}).best_field == ""
    _, content, targets, noise, metric = parts
    known = np.array([0, 5, 10])  # none has a poster
    fitted = fit_leave_one_out(select(features(content), known), targets[known], noise[:3], LENGTH_SCALE)
    evidence = Evidence(fitted, content, known, metric, **OPTIONS)
    [one] = content_evidence.judge(evidence, features(content), content, np.array([31]))
    assert np.isnan(one.readiness)
    assert np.isnan(content_evidence.check(evidence)).all()


def test_readiness_is_checked_on_titles_left_out(parts: Any) -> None:
    evidence, content, *_ = parts
    ranks, explained = content_evidence.check(evidence)
    every = {"plot", "poster"}
    agreement, spreads = slow_agreement(parts, every)
    titles = np.arange(COUNT_KNOWN)
    whole = [n for n in titles if content.present["plot"][n] and content.present["poster"][n]]
    kernel = gaussian_kernel(without(content, titles, every), without(content, titles, every), LENGTH_SCALE)
    predicted = []
    for title in whole:
        others = [n for n in whole if n != title]
        weights = kernel[title, others] ** 2
        weights *= np.exp(-0.5 * (np.log(spreads[title] / spreads[others]) / 0.5) ** 2)
        predicted.append(weights @ agreement[others] / weights.sum())
    first, second = (np.argsort(np.argsort(values)) for values in (predicted, agreement[whole]))
    assert ranks == pytest.approx(np.corrcoef(first, second)[0, 1])
    assert explained == pytest.approx(1 - np.mean((predicted - agreement[whole]) ** 2) / agreement[whole].var())


def test_the_command_lists_new_titles_for_editors(
    registered: Settings, tiny_command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = {
        "title_id": [116, 117],
        "title": ["New one", "Other one"],
        "release_year": pa.array([2024] * 2, pa.int32()),
        "release_date": pa.array([None] * 2, pa.date32()),
    }
    write_deltalake(str(Path(registered.lake.root) / "stg_titles"), pa.table(columns), mode="overwrite")
    assert readiness.main([*tiny_command, "--out", str(tmp_path)]) == 0
    listed = pd.read_csv(tmp_path / "work_list.csv")
    assert sorted(listed["title"]) == ["New one (2024)", "Other one (2024)"]
    assert sorted(listed["release_date"]) == ["2024-01-17", "2024-01-18"]
    # Genres separate the two tastes, and so do plots: either alone is enough, and nothing is missing.
    assert (listed["readiness"] > 0.9).all()
    assert listed["missing"].isna().all()
    assert (listed["move_genres"] < 0.2).all()
    losses = pd.read_csv(tmp_path / "fields.csv")
    assert losses["field"].tolist() == ["genres", "plot"]
    assert (losses["known_titles_with_it"] == 16).all()
    np.testing.assert_allclose(losses["loss"], losses["agreement"] - losses["agreement_without"])
    shown = capsys.readouterr().out
    assert "the first 2 of 2 new titles of the work list" in shown
    assert "rank correlation" in shown


def test_a_lake_without_likes_gives_no_evidence(trained: Any) -> None:
    inputs = trained.inputs
    without_likes = type(inputs.train)(
        inputs.train.user_ids, inputs.train.countries, inputs.train.liked * 0, inputs.train.days
    )
    without_likes.liked.eliminate_zeros()
    with pytest.raises(ModelError, match=r"0 titles have likes; at least two are needed"):
        content_evidence.gather_evidence(trained.model, inputs.catalogue, without_likes, 1)
