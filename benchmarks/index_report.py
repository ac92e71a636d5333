"""Figures of benchmarks/index.py: from what its parts measured to lines, ratios and targets."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measure import Report

OURS, SLOW = "scann", "exact"
_MILLION = 1e6
# Targets at a million titles, as the most that the other way round may be.
MAX_SEARCH_SHARE = 1 / 3  # of the best other index's time
MAX_COST_SHARE = 1 / 30  # of the old recommender's
MAX_CALL_RATIO = 3.0  # of the whole call to the bare search
_TARGETS_FROM_TITLES = 1_000_000


def add_engine(report: Report, name: str, found: Sequence[Mapping[str, Any]], titles: int) -> None:
    """What each configuration cost to build, and the best one's queries a second by recall."""
    for own in found:
        how: dict[str, Any] = {"index": name, "titles": titles, "config": _short(own["config"])}
        report.add("build time", own["built"]["seconds"], "s", processor_s=own["built"]["processor_s"], **how)
        report.add("stored bytes", own["built"]["bytes"], "bytes", **how)
        if own.get("most_recall") is not None:
            report.add("recall@10 with the most effort tried", own["most_recall"], "share", **how)
    for wanted in sorted({recall for own in found for recall in own["asked"]}):
        fastest = best(found, wanted)
        if fastest is None:
            continue
        asked = fastest["asked"][wanted]
        how = {"index": name, "titles": titles, "recall_at_10": wanted, "config": _short(fastest["config"])}
        how |= {"measured_recall": round(asked["recall"], 4), "knobs": asked["knobs"], "load": round(asked["load"], 1)}
        report.add("queries a second of processor time, one thread", 1 / asked["processor_s"], "1/s", **how)
        report.add("queries a second, one thread", 1 / asked["wall_s"], "1/s", **how)
        report.add("queries a second, all threads", 1 / asked["wall_all_s"], "1/s", threads=fastest["threads"], **how)


def best(found: Sequence[Mapping[str, Any]], wanted: str) -> Mapping[str, Any] | None:
    """The configuration that reaches a recall with the least processor time; None where none does."""
    reached = [own for own in found if wanted in own["asked"]]
    return min(reached, key=lambda own: own["asked"][wanted]["processor_s"], default=None)


def add_calls(report: Report, found: Mapping[str, Any], titles: int, price_per_hour: float) -> None:
    """Milliseconds a list, and what a million lists cost at `price_per_hour` of one core."""
    how = {"titles": titles, "titles_in_history": round(found["titles_in_history"], 1)}
    for kind, own in found["calls"].items():
        _add_kind(report, kind, own, price_per_hour, how)


def add_old(report: Report, found: Mapping[str, Any], titles: int, price_per_hour: float) -> None:
    """The same of the old recommender."""
    for kind, own in found.items():
        _add_kind(report, f"ALS, {kind}", own, price_per_hour, {"titles": titles})


def _add_kind(report: Report, kind: str, own: Mapping[str, Any], price_per_hour: float, how: Mapping[str, Any]) -> None:
    how = {**how, "wall_ms": round(own["wall_ms"], 3), "load": round(own["load"], 1)}
    report.add(f"processor time of a list: {kind}", own["processor_ms"], "ms", **how)
    cost = own["processor_ms"] / 1000 * _MILLION / 3600 * price_per_hour
    report.add(f"cost of a million lists: {kind}", cost, "currency", price_per_hour=price_per_hour)


def add_filters(report: Report, found: Mapping[str, Any], titles: int, _price_per_hour: float) -> None:
    """Recall by selectivity."""
    for country, own in found.items():
        drawn = "the least popular" if country == "AF" else "drawn at random"
        how = {"titles": titles, "on_offer": own["share"], "which": drawn, "plans": own["plans"]}
        report.add("recall@10 by filter", own["recall"], "share", **how)
        report.add("processor time by filter", own["processor_ms"], "ms", **how)


def add_ratios(
    report: Report, engines: Mapping[str, Sequence[Mapping[str, Any]]], calls: Mapping[str, Any], titles: int
) -> None:
    """What the targets speak of, where both sides were measured; they hold for a million titles."""
    is_large = titles >= _TARGETS_FROM_TITLES
    for wanted in ("0.95", "0.99"):
        times = {}
        for name, found in engines.items():
            fastest = best(found, wanted)
            if fastest is not None:
                times[name] = fastest["asked"][wanted]["processor_s"]
        others = {name: seconds for name, seconds in times.items() if name != OURS}
        if OURS in times and others:
            other = min(others, key=lambda name: others[name])
            target = MAX_SEARCH_SHARE if is_large and wanted == "0.95" else None
            how: dict[str, Any] = {"titles": titles, "recall_at_10": wanted, "best_other": other}
            report.add("ScaNN's time over the best other's", times[OURS] / others[other], "ratio", target, **how)
    if "call" in calls:
        _add_call_ratios(report, calls["call"]["calls"], titles, is_large)
    if "call" in calls and "als" in calls:
        pairs = (("recommend", "one at a time"), ("recommend_many", "in batches"))
        for ours, theirs in pairs:
            ratio = calls["call"]["calls"][ours]["processor_ms"] / calls["als"][theirs]["processor_ms"]
            target = MAX_COST_SHARE if is_large else None
            report.add("our cost over the old one's", ratio, "ratio", target, titles=titles, ours=ours, theirs=theirs)


def _add_call_ratios(report: Report, calls: Mapping[str, Mapping[str, float]], titles: int, is_large: bool) -> None:
    pairs = (
        ("recommend", "bare search, one at a time"),
        ("recommend, with reasons", "bare search, one at a time"),
        ("recommend_many", "bare search, in batches"),
    )
    for whole, bare in pairs:
        ratio = calls[whole]["processor_ms"] / calls[bare]["processor_ms"]
        target = MAX_CALL_RATIO if is_large and whole != "recommend, with reasons" else None
        report.add("the whole call over the bare search", ratio, "ratio", target, titles=titles, call=whole, of=bare)


def _short(config: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in config.items() if value is not None and key != "width")
