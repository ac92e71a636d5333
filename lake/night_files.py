"""Files that a night writes for its report, below <report.root>/DATE."""

import os
from collections.abc import Collection, Iterable
from datetime import date
from pathlib import Path

import pandas as pd

from conf.night_folder import night_folder
from conf.settings import Settings


def lists(settings: Settings, ds: date) -> Path:
    """The folder of each model's recommendations, a Parquet file per model."""
    return night_folder(settings, ds) / "lists"


def all_lists(settings: Settings) -> list[Path]:
    """The files of recommendations of all nights."""
    return sorted(Path(settings.report.root).glob("*/lists/*.parquet"))


def listed_users(files: Iterable[Path]) -> list[str]:
    """The users that files of recommendations are for, in order."""
    return sorted(set().union(*(pd.read_parquet(file, columns=["user_id"])["user_id"] for file in files)))


def erase_users(file: Path, user_ids: Collection[str]) -> int:
    """Take users out of a file of recommendations, all or nothing; returns the number of rows taken out."""
    rows = pd.read_parquet(file)
    is_theirs = rows["user_id"].isin(list(user_ids))
    if is_theirs.any():
        unfinished = file.with_suffix(".unfinished")
        rows[~is_theirs].to_parquet(unfinished, index=False)
        os.replace(unfinished, file)
    return int(is_theirs.sum())


def dial(settings: Settings, ds: date) -> Path:
    """The dial's curve, a CSV file."""
    return night_folder(settings, ds) / "dial.csv"


def gate(settings: Settings, ds: date) -> Path:
    """The gate's page."""
    return night_folder(settings, ds) / "gate.html"


def report(settings: Settings, ds: date) -> Path:
    """The report."""
    return night_folder(settings, ds) / "report.html"


def backtest(settings: Settings) -> Path:
    """The folder of the last replay of historical nights."""
    return Path(settings.report.root) / "backtest"
