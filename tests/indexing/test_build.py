"""Settings of the dial on their way from a model's run into a bundle."""

import json
from pathlib import Path

import pytest

from conf.loader import load_settings
from indexing import build
from indexing.errors import BundleError
from models.evaluation import dial_settings
from models.evaluation.dial_points import DialPoint
from models.tracking import registry

SETTINGS = load_settings()
POINTS = [
    DialPoint(-0.5, 0.29, 0.19, 0.7, 30.0, 0.1, 0.04, 0.7, 4.0),
    DialPoint(0.0, 0.30, 0.20, 0.5, 50.0, 0.1, 0.02, 0.8, 3.0),
]
MEASURED = dial_settings.for_index(SETTINGS, POINTS, 2.0, "a test")


def test_bundle_gets_the_measured_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = dial_settings.to_json(MEASURED)
    monkeypatch.setattr(
        registry, "kept_text", lambda settings, model, file: {("7", "dial.json"): text}.get((model, file))
    )
    dial = build.measured_dial(SETTINGS, "7")
    assert dial is not None
    assert dict(dial.settings) == {"popular": 0.0, "balanced": 0.0, "discover": -1.0, "gems": -1.0}
    assert "measured by a test" in dial.source
    (tmp_path / "dial.json").write_text(text)
    assert build.read_dial(tmp_path / "dial.json") == dial
    assert build.measured_dial(SETTINGS, "8") is None


def test_settings_outside_of_the_range_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    outside = json.dumps({**MEASURED, "minimum": 0.0})
    monkeypatch.setattr(registry, "kept_text", lambda *_: outside)
    with pytest.raises(BundleError, match=r"dial.json in the run of 7: no settings of the dial: .* lie outside"):
        build.measured_dial(SETTINGS, "7")
