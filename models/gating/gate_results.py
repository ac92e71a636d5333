"""gate_results: one row per night, model and check, and one for the verdict. Source: models.gate, indexing.promote."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from lake import night_tables
from lake.gate_results import TABLE
from models.gating.gate_rules import BUNDLE, Check, failures

VERDICT = "verdict"
PROMOTE, REFUSE, OVERRIDE = "promote", "refuse", "override"


@dataclass(frozen=True)
class Verdict:
    """The decision of a night about a challenger; `why` gives the reasons in words."""

    ds: date
    model: str
    against: str
    decision: str
    why: str
    checks: Sequence[Check]

    @property
    def is_yes(self) -> bool:
        return self.decision in (PROMOTE, OVERRIDE)


def decide(ds: date, model: str, against: str, checks: Sequence[Check], override: str | None = None) -> Verdict:
    """Promote where no deciding check failed, or where `override` gives a reason to promote in spite of failures."""
    failed = failures(checks)
    if not failed:
        return Verdict(ds, model, against, PROMOTE, f"all {len(checks)} checks passed", checks)
    reasons = "; ".join(f"{name_of(check)}: {check.reason}" for check in failed)
    if override is None:
        return Verdict(ds, model, against, REFUSE, reasons, checks)
    return Verdict(ds, model, against, OVERRIDE, f"{override} (against: {reasons})", checks)


def name_of(check: Check) -> str:
    """Name of a check on pages and in reasons: recall@20 of popularity tail."""
    metric = f"{check.metric}@{check.k}" if check.k else check.metric
    return metric if check.dimension == "all" else f"{metric} of {check.dimension} {check.segment}"


def write(root: str, verdict: Verdict) -> None:
    """Replace the rows of this night and model by a verdict and its checks."""
    keys = {"ds": verdict.ds, "model": verdict.model, "against": verdict.against}
    rows: list[dict[str, object]] = [{**keys, **asdict(check)} for check in verdict.checks]
    no_figures = dict.fromkeys(("value", "reference", "difference", "low", "high", "limit"))
    summary = {"rule": VERDICT, "dimension": "all", "segment": "all", "metric": verdict.decision, "k": 0}
    rows.append(
        {
            **keys,
            **no_figures,
            **summary,
            "count_users": 0,
            "passed": verdict.is_yes,
            "decides": True,
            "reason": verdict.why,
        }
    )
    night_tables.replace(root, TABLE, rows, night_tables.of_night(verdict.ds, verdict.model))


def read(root: str, ds: date) -> list[Verdict]:
    """The verdicts of a night, by model; a rerun after a new training adds one."""
    rows = night_tables.read(root, TABLE)
    return _verdicts(rows.filter(pc.equal(rows["ds"], pa.scalar(ds))))


def newest(root: str, model: str) -> Verdict | None:
    """The newest verdict about a model; None where the gate never judged it."""
    rows = night_tables.read(root, TABLE)
    verdicts = _verdicts(rows.filter(pc.equal(rows["model"], model)))
    return max(verdicts, key=lambda verdict: verdict.ds, default=None)


def with_bundle(verdict: Verdict, checks: Sequence[Check]) -> Verdict:
    """The verdict with checks of its index, in place of those of an earlier index; a failed check refuses the model."""
    all_checks = [*(check for check in verdict.checks if check.rule != BUNDLE), *checks]
    failed = failures(checks)
    if not failed:
        return replace(verdict, checks=all_checks)
    reasons = "; ".join(f"{name_of(check)}: {check.reason}" for check in failed)
    return replace(verdict, decision=REFUSE, why=reasons, checks=all_checks)


def _verdicts(rows: pa.Table) -> list[Verdict]:
    groups: dict[tuple[date, str], list[dict[str, object]]] = {}
    for row in rows.to_pylist():
        groups.setdefault((row["ds"], row["model"]), []).append(row)
    return [_verdict(ds, model, of_model) for (ds, model), of_model in sorted(groups.items())]


def _verdict(ds: date, model: str, rows: Sequence[dict[str, object]]) -> Verdict:
    [summary] = [row for row in rows if row["rule"] == VERDICT]
    names = [field.name for field in fields(Check)]
    checks = [
        Check(**{name: row[name] for name in names})  # type: ignore[arg-type]
        for row in rows
        if row["rule"] != VERDICT
    ]
    return Verdict(ds, model, str(summary["against"]), str(summary["metric"]), str(summary["reason"]), checks)
