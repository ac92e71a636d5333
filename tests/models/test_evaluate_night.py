"""A night's models by their names in tables, and the model that they are compared with.

tests/test_documented_commands.py runs the whole command over a small guide, and the gate over its figures.
"""

from datetime import date
from pathlib import Path

import pytest

from conf.loader import load_settings
from conf.settings import Settings
from models import evaluate_night
from models.errors import ModelError
from models.tracking import registry


def name_versions(monkeypatch: pytest.MonkeyPatch, challenger: int | None, champion: int | None) -> None:
    """Put registered models in place of MLflow's."""

    def registered(version: int) -> registry.Registered:
        return registry.Registered(version, None, Path("nowhere"), {})

    def fetch(_: Settings, alias: str) -> registry.Registered:
        if alias == registry.CHALLENGER and challenger:
            return registered(challenger)
        raise ModelError(f"no model has the alias {alias}")

    monkeypatch.setattr(registry, "fetch", fetch)
    monkeypatch.setattr(registry, "champion_or_none", lambda _: registered(champion) if champion else None)


@pytest.mark.parametrize(
    ("challenger", "champion", "measured", "against"),
    [
        (2, 1, {"marquee@2": "2", "marquee@1": "1"}, "marquee@1"),
        # Without a champion, or where it is tonight's challenger itself, the reference is ALS.
        (1, None, {"marquee@1": "1"}, "als"),
        (3, 3, {"marquee@3": "3"}, "als"),
    ],
)
def test_challenger_is_compared_with_another_champion_or_als(
    challenger: int,
    champion: int | None,
    measured: dict[str, str],
    against: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name_versions(monkeypatch, challenger, champion)
    expected = {"popularity": "popularity", "als": "als", **measured}
    assert evaluate_night.models_of_night(load_settings()) == (expected, against)


def test_night_without_a_challenger_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name_versions(monkeypatch, None, 1)
    assert evaluate_night.main(["--ds", "2024-05-14"]) == 1
    assert "no model has the alias challenger" in capsys.readouterr().err


def test_figures_of_a_night_have_a_folder_in_the_run() -> None:
    assert evaluate_night.run_folder(date(2024, 5, 14)) == "night-2024-05-14"
