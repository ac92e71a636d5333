"""Sections of the nightly report, read from small tables of the lake and the files of the night.

A section whose source is missing says so: the report is needed most after a night that failed.
"""

import base64
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from conf.settings import Settings
from lake import delta_log, feed_days, night_files
from lake.model_names import ALS_BASELINE
from models.evaluation import evaluations_table
from models.evaluation.dial_points import DialPoint
from models.evaluation.measurement import Measurement
from models.gating import gate_results
from models.gating.gate_results import Verdict, name_of
from models.gating.gate_rules import SEGMENT, failures
from review import figures
from review.sections import Section, Table

Part: TypeAlias = Callable[[Settings, date], Section]

_PUBLISHING = ("publish", "refresh")  # after either task the night's bundle is served
_DAYS_SHOWN = 28
_REASONS_SHOWN = 12
_REASON_CHARS = 140


@dataclass(frozen=True)
class Stage:
    """A task of a run: how it ended and how long it took; written by `note_stage` in dags/wiring.py."""

    run: str
    task: str
    state: str
    started_at: str
    seconds: float
    tries: int
    reason: str


def read_stages(folder: Path) -> list[Stage]:
    """Tasks of the newest run, by start time."""
    stages = [Stage(**json.loads(file.read_text(encoding="utf-8"))) for file in folder.glob("*.json")]
    ordered = sorted(stages, key=lambda stage: stage.started_at)
    return [stage for stage in ordered if stage.run == ordered[-1].run]


def outcome(stages: Sequence[Stage], verdicts: Sequence[Verdict]) -> str:
    """One or two sentences on how the night ended."""
    failed = [stage for stage in stages if stage.state == "failed"]
    if failed:
        first = failed[0]
        is_live = any(stage.task in _PUBLISHING and stage.state == "success" for stage in stages)
        consequence = "Tonight's bundle is already live." if is_live else "The previous bundle is still served."
        return f"The night failed at {first.task}: {first.reason or 'no reason given'}. {consequence}"
    if not verdicts:
        return "No model was judged on this night."
    last = verdicts[-1]
    if last.is_yes:
        return f"{last.model} passed the gate against {last.against}: {last.why}."
    return f"{last.model} did not pass the gate against {last.against}: {last.why}. The champion stays."


def feeds(settings: Settings, ds: date) -> Section:
    """Rows loaded and rejected per feed, and the events of the last four weeks."""
    title, location = "What came in", f"{settings.lake.root}/feed_loads"
    if not delta_log.exists(location):
        return Section(title, missing="the lake has no feed_loads: no feed was ever loaded")
    rows = delta_log.read(delta_log.load(location), filters=[("ds", "=", ds)]).to_pylist()
    if not rows:
        return Section(title, missing=f"no feed was loaded for {ds}")
    counts = ("count_files", "count_lines", "count_loaded", "count_rejected", "count_duplicates", "count_erased")
    shown = [[row["feed"], *(f"{row[name]:,}" for name in counts)] for row in sorted(rows, key=lambda row: row["feed"])]
    headings = ("feed", "files", "lines", "rows", "rejected", "of which duplicates", "erased")
    first = ds - timedelta(days=_DAYS_SHOWN)
    days = [day for day in feed_days.read(settings.lake.root) if first < day.ds <= ds]
    plots = [figures.events_by_day(days, ds)] if days else []
    return Section(title, tables=[Table(f"Feeds of {ds}", headings, shown)], figures=plots)


def rejects(settings: Settings, ds: date) -> Section:
    """Reasons for which lines were rejected, the most frequent first."""
    title, location = "What was rejected", f"{settings.lake.root}/rejected_rows"
    if not delta_log.exists(location):
        return Section(title, missing="the lake has no rejected_rows")
    rows = delta_log.read(delta_log.load(location), ["feed", "reason"], [("ds", "=", ds)]).to_pylist()
    if not rows:
        return Section(title, text="No line was rejected.")
    # Lines share what was expected; what was found differs from line to line.
    kinds = Counter((row["feed"], row["reason"].split(", found")[0][:_REASON_CHARS]) for row in rows)
    shown = [[feed, reason, f"{count:,}"] for (feed, reason), count in kinds.most_common(_REASONS_SHOWN)]
    rest = f", the {_REASONS_SHOWN} most frequent of {len(kinds)} reasons" if len(kinds) > _REASONS_SHOWN else ""
    return Section(title, f"{len(rows):,} lines{rest}.", [Table("Reasons", ("feed", "reason", "lines"), shown, 2)])


def models(settings: Settings, ds: date) -> Section:
    """Metrics of every model over all users, with plots by title popularity and by length of history."""
    title, measured = "Models", evaluations_table.read(settings.lake.root, ds)
    if not measured:
        return Section(title, missing=f"no model was measured on {ds}")
    k = settings.evaluation.k[0]
    names = list(measured)
    values: dict[str, dict[str, str]] = {}
    for model, rows in measured.items():
        for row in rows:
            if row.dimension == "all":
                values.setdefault(row.name, {})[model] = f"{row.mean:.4f}"
    shown = [[metric, *(by_model.get(name, "") for name in names)] for metric, by_model in values.items()]
    plots = [
        figures.by_segment(measured, "popularity", "recall", k),
        figures.by_segment(measured, "history_titles", "ndcg", k),
    ]
    text = f"Measured on the positives of the {settings.gate.split} days, means over users."
    return Section(title, text, [Table("All users", ("metric", *names), shown)], plots)


def verdict(settings: Settings, ds: date) -> Section:
    """The gate's decision, and its checks by segment."""
    title, verdicts = "Gate", gate_results.read(settings.lake.root, ds)
    if not verdicts:
        return Section(title, missing=f"the gate judged no model on {ds}")
    last = verdicts[-1]
    k = settings.evaluation.k[0]
    failed = [[name_of(check), check.reason] for check in failures(last.checks)]
    tables = [Table("Failed checks", ("check", "reason"), failed, 2)] if failed else []
    plots = []
    for metric in ("recall", "ndcg"):
        checks = [check for check in last.checks if check.rule == SEGMENT and check.metric == metric]
        if checks:
            plots.append(figures.differences(checks, f"{metric}@{k}: {last.model} minus {last.against}"))
    text = f"{last.decision} {last.model} against {last.against}: {last.why}. All figures: gate.html beside this file."
    return Section(title, text, tables, plots)


def dial(settings: Settings, ds: date) -> Section:
    """Recall, coverage and popularity of the challenger along its dial."""
    title, file, k = "The dial", night_files.dial(settings, ds), settings.evaluation.k[0]
    if not file.exists():
        return Section(title, missing=f"{file.name} was not written on this night")
    rows = pd.read_csv(file)
    if missing := {field.name for field in fields(DialPoint)} - set(rows.columns):
        return Section(
            title, missing=f"{file.name} lacks the columns {', '.join(sorted(missing))}: an older version wrote it"
        )
    points = [DialPoint(**{str(name): value for name, value in row.items()}) for row in rows.to_dict("records")]
    headings = [str(name).replace("_", " ") for name in rows.columns]
    shown = [[f"{value:.3f}" for value in row] for row in rows.to_numpy().tolist()]
    text = "In standard deviations of a user's scores: below 0 favours hidden gems, above 0 well-known titles."
    return Section(title, text, [Table(f"Lists of {k}", headings, shown, 0)], [figures.dial(points, k)])


def new_titles(settings: Settings, ds: date) -> Section:
    """Recall by the age of the title: days from release to the like."""
    title, measured = "New titles", evaluations_table.read(settings.lake.root, ds)
    k = settings.evaluation.k[0]
    aged = {
        model: [row for row in rows if (row.dimension, row.k) == ("title_age_days", k)]
        for model, rows in measured.items()
    }
    aged = {model: rows for model, rows in aged.items() if rows}
    if not aged:
        return Section(title, missing="no measured like is of a title with a known release date")
    compared = _old_and_new(aged)
    text = "Positives by the age of the title in days. The old recommender can't recommend a title without likes."
    return Section(title, text, [_by_age(compared, k)], [figures.by_segment(compared, "title_age_days", "recall", k)])


def _old_and_new(measured: Mapping[str, list[Measurement]]) -> dict[str, list[Measurement]]:
    """The old recommender and the registered models."""
    return {model: rows for model, rows in measured.items() if model == ALS_BASELINE or "@" in model}


def _by_age(by_model: Mapping[str, list[Measurement]], k: int) -> Table:
    cells: dict[str, dict[str, str]] = {}
    users: dict[str, int] = {}
    for model, measured in by_model.items():
        for row in (row for row in measured if row.metric == "recall"):
            cells.setdefault(row.segment, {})[model] = f"{row.mean:.4f}"
            users[row.segment] = row.count_users
    rows = [[age, f"{users[age]:,}", *(recalls.get(model, "") for model in by_model)] for age, recalls in cells.items()]
    return Table(f"recall@{k}", ("age in days", "users", *by_model), rows)


def run_time(settings: Settings, stages: Sequence[Stage]) -> Section:
    """Run time and cost of each task."""
    title, price = "Run time and cost", settings.report.price_per_hour
    if not stages:
        return Section(title, missing="no task of this night recorded its run time")
    shown = [
        [stage.task, stage.state, f"{stage.seconds:,.1f}", str(stage.tries), f"{stage.seconds / 3600 * price:.4f}"]
        for stage in stages
    ]
    total = sum(stage.seconds for stage in stages)
    shown.append(["total", "", f"{total:,.1f}", "", f"{total / 3600 * price:.4f}"])
    text = f"Cost is run time times report.price_per_hour = {price}, as if one machine ran one task at a time."
    return Section(title, text, [Table("Tasks", ("task", "state", "seconds", "tries", "cost"), shown, 2)])


def data_uri(folder: str, name: str) -> str | None:
    """A poster from a local folder as a data URI; None where there is no such file."""
    file = Path(folder.removeprefix("file://")) / name
    if not file.is_file():
        return None
    kind = "png" if file.suffix.lower() == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


SECTIONS: Sequence[Part] = (feeds, rejects, models, verdict, dial, new_titles)
