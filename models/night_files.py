"""What a night leaves beside its tables, for its report: files below <report.root>/DATE."""

from datetime import date
from pathlib import Path

from conf.settings import Settings

OLD = "als"  # the recommender being replaced


def folder(settings: Settings, ds: date) -> Path:
    """Where the files of a night lie."""
    return Path(settings.report.root) / ds.isoformat()


def lists(settings: Settings, ds: date) -> Path:
    """The folder of each model's recommendations, a Parquet file per model."""
    return folder(settings, ds) / "lists"


def dial(settings: Settings, ds: date) -> Path:
    """The dial's curve, a CSV file."""
    return folder(settings, ds) / "dial.csv"


def gate(settings: Settings, ds: date) -> Path:
    """The gate's page."""
    return folder(settings, ds) / "gate.html"


def report(settings: Settings, ds: date) -> Path:
    """The report."""
    return folder(settings, ds) / "report.html"


def time_machine(settings: Settings) -> Path:
    """The folder of the last replay of historical nights."""
    return Path(settings.report.root) / "time_machine"


def stages(settings: Settings, ds: date) -> Path:
    """The folder of how each task ended, a JSON file per task; see `note_stage` in dags/wiring.py."""
    return folder(settings, ds) / "stages"
