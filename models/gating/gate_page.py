"""The gate's page: a verdict with the figures of both models, as one self-contained HTML file."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.gating.gate_results import OVERRIDE, PROMOTE, Verdict, name_of
from models.gating.gate_rules import RULES, Check

_TEMPLATES = Path(__file__).parent / "templates"
_HEADLINES = {PROMOTE: "{} is promoted", OVERRIDE: "{} is promoted by override"}
_GROUPS = {
    "overall": ("All users", "Better on average, with an interval that excludes a loss beyond the limit."),
    "segment": (
        "Segments",
        "No loss beyond the limit. A loss counts only if it is significant, with all segments tested together.",
    ),
    "guardrail": ("Guardrails", "Accuracy must not be gained at the expense of these figures."),
    "data": ("Data of the night", "The training data must be complete."),
    "bundle": ("Index", "The served index must agree with the measured model."),
}
_HALF_WIDTH = 58  # of the drawn interval, pixels


def render(verdict: Verdict) -> str:
    """The page of a verdict."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    headline = _HEADLINES.get(verdict.decision, "{} is not promoted").format(verdict.model)
    groups = [_group(rule, [check for check in verdict.checks if check.rule == rule]) for rule in RULES]
    shown = [group for group in groups if group["rows"]]
    return environment.get_template("gate.html").render(verdict=verdict, headline=headline, groups=shown)


def _group(rule: str, checks: Sequence[Check]) -> dict[str, object]:
    title, description = _GROUPS[rule]
    compared = [check for check in checks if check.difference is not None]
    reach = max((abs(edge) for check in compared for edge in (check.low or 0, check.high or 0)), default=0)
    return {
        "title": title,
        "rule": description,
        "is_compared": bool(compared),
        "rows": [_row(check, reach or 1) for check in checks],
    }


def _row(check: Check, reach: float) -> dict[str, object]:
    """Cells of one check; `reach` is the difference at the edges of the drawn interval."""

    def x_of(difference: float | None) -> float:
        return round(62 + _HALF_WIDTH * (difference or 0) / reach, 1)

    result = ("pass", "pass") if check.passed else ("FAIL", "fail")
    text, css = result if check.decides else ("not judged", "idle")
    return {
        "name": name_of(check),
        "value": _figure(check.value),
        "reference": _figure(check.reference),
        "difference": "" if check.difference is None else f"{check.difference:+.4f}",
        "interval": "" if check.low is None else f"{check.low:+.4f} to {check.high:+.4f}",
        "users": f"{check.count_users:,}",
        "limit": _figure(check.limit),
        "low_x": x_of(check.low),
        "high_x": x_of(check.high),
        "mean_x": x_of(check.difference),
        "result": text,
        "css": css,
        "reason": check.reason,
    }


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4f}"
