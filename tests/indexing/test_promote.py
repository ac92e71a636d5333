"""A promotion moves both the pointer and the champion, or neither, wherever it is interrupted."""

import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from conf.settings import Settings, with_changes
from indexing import drill, promote
from indexing.bundle import parity
from indexing.bundle.bundle import Bundle
from indexing.publishing import publication
from indexing.publishing.storage import LocalStore
from lake import night_files
from models.gating import gate_results
from models.gating.gate_results import decide
from models.gating.gate_rules import Check
from models.tracking import registry

A, B, C = "20240514T000000Z-m7", "20240515T000000Z-m8", "20240516T000000Z-m8"
NIGHT = date(2024, 5, 15)


@pytest.fixture
def settings(
    tmp_path: Path,
    settings_in: Callable[[Path], Settings],
    small_bundle: Bundle,
    other_bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    """Bundle A of model 7 is live; B and C are of model 8, the challenger."""
    for version, bundle in ((A, small_bundle), (B, other_bundle), (C, other_bundle)):
        shutil.copytree(bundle.folder, tmp_path / "bundles" / version)
    for version in (B, C):
        of_model_8(tmp_path / "bundles" / version)
    publication.publish(LocalStore(tmp_path / "bundles"), A)
    # Looser than those that the bundles of these tests were built with.
    monkeypatch.setattr(parity, "MAX_SCORE_DIFFERENCE", 1.0)
    limits = {"index.min_recall_at_10": 0.0, "index.min_recall_at_100": 0.0, "index.min_overlap": 0.0}
    roots = {"bundles.root": str(tmp_path / "bundles"), "report.root": str(tmp_path / "reports")}
    return with_changes(settings_in(tmp_path), {**roots, **limits})


def of_model_8(folder: Path) -> None:
    """Change a bundle's manifest: another version of the model, and answers that differ a little."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["model"]["version"] = 8
    manifest["parity"]["max_score_difference"] = 0.01
    text = json.dumps(manifest)
    (folder / "manifest.json").write_text(text)
    (folder / "manifest.json.sha256").write_text(f"{hashlib.sha256(text.encode()).hexdigest()}  manifest.json\n")


@pytest.fixture(autouse=True)
def unchecked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the check of the bundle's content, which takes seconds, but for the drill."""
    if "drill" not in request.node.name:
        monkeypatch.setattr(publication, "check", lambda opened: opened)


@pytest.fixture(autouse=True)
def aliases(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Versions of the model by alias, in place of the registry's."""
    named = {registry.CHALLENGER: 8, registry.CHAMPION: 7}

    def fetch(_: Settings, alias: str) -> registry.Registered:
        return registry.Registered(named[alias], None, Path("nowhere"), {})

    monkeypatch.setattr(registry, "fetch", fetch)
    monkeypatch.setattr(registry, "champion_or_none", lambda settings: fetch(settings, registry.CHAMPION))
    monkeypatch.setattr(registry, "point", lambda _, alias, version: named.update({alias: version}))
    return named


def judge_night(settings: Settings, passed: bool) -> None:
    check = Check("overall", "all", "all", "recall", 20, 0.3, 0.2, 0.1, 0.05, 0.15, 500, 0.0, passed, True, "so it is")
    gate_results.write(settings.lake.root, decide(NIGHT, "marquee@8", "marquee@7", [check]))


def live(settings: Settings) -> str:
    return publication.live_entry(publication.store_of(settings)).version


def test_passed_gate_publishes_the_newest_bundle_and_moves_the_champion(
    settings: Settings, aliases: dict[str, int]
) -> None:
    judge_night(settings, passed=True)
    assert promote.promote(settings, NIGHT) == 0
    assert (live(settings), aliases["champion"]) == (C, 8)
    [verdict] = gate_results.read(settings.lake.root, NIGHT)
    assert [check.metric for check in verdict.checks if check.rule == "bundle"] == [
        *("index_recall@10", "index_recall@100", "overlap_of_searchers"),
        *("parity_overlap", "parity_score_difference"),
    ]
    # A rerun changes nothing.
    assert promote.promote(settings, NIGHT) == 0
    assert publication.live_entry(publication.store_of(settings)).sequence == 2
    assert gate_results.read(settings.lake.root, NIGHT) == [verdict]


def test_failed_gate_changes_nothing(settings: Settings, aliases: dict[str, int]) -> None:
    judge_night(settings, passed=False)
    assert promote.promote(settings, NIGHT) == 3
    assert (live(settings), aliases["champion"]) == (A, 7)


def test_index_that_falls_short_refuses_a_challenger_that_passed(
    settings: Settings, aliases: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_night(settings, passed=True)
    monkeypatch.setattr(parity, "MAX_SCORE_DIFFERENCE", 0.005)
    assert promote.promote(settings, NIGHT) == 3
    assert (live(settings), aliases["champion"]) == (A, 7)
    [verdict] = gate_results.read(settings.lake.root, NIGHT)
    assert verdict.decision == "refuse"
    assert verdict.why.startswith("parity_score_difference: ")
    assert "parity_score_difference" in night_files.gate(settings, NIGHT).read_text()


def test_interruption_between_pointer_and_alias_is_repaired_by_the_next_night(
    settings: Settings, aliases: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_night(settings, passed=True)
    with monkeypatch.context() as patched:
        patched.setattr(registry, "point", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            promote.promote(settings, NIGHT)
    assert (live(settings), aliases["champion"]) == (C, 7)
    assert promote.align(settings) == 8
    assert aliases["champion"] == 8


def test_champion_follows_a_rollback(settings: Settings, aliases: dict[str, int]) -> None:
    judge_night(settings, passed=True)
    promote.promote(settings, NIGHT)
    publication.roll_back(publication.store_of(settings), None)
    assert promote.align(settings) == 7
    assert aliases["champion"] == 7


def test_first_night_has_no_champion_to_refresh(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "champion_or_none", lambda _: None)
    assert promote.refresh(settings, NIGHT) == 3
    assert capsys.readouterr().out == "there is no champion yet: nothing is served\n"


def test_drill_leaves_the_live_bundle_alone(settings: Settings) -> None:
    store = publication.store_of(settings)
    assert drill.drill(store) is None
    publication.publish(store, B)
    before = store.read("CURRENT")
    assert drill.drill(store) == (A, B)
    assert store.read("CURRENT") == before
