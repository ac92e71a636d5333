"""The folder of a night's files, and that of its tasks' outcomes, which the DAGs write and the report reads."""

from datetime import date
from pathlib import Path

from conf.settings import Settings


def night_folder(settings: Settings, ds: date) -> Path:
    """<report.root>/DATE; `lake.night_files` names the files in it."""
    return Path(settings.report.root) / ds.isoformat()


def stages(settings: Settings, ds: date) -> Path:
    """The folder of the tasks' outcomes, a JSON file per task; see `note_stage` in dags/wiring.py."""
    return night_folder(settings, ds) / "stages"
