"""Figures, ratios and targets of `benchmarks.index`, from the answers of its measured parts."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness.report import Report

OURS, SLOW = "scann", "exact"
_MILLION = 1e6
# Targets at a million titles: upper bounds of ratios.
MAX_SEARCH_SHARE = 1 / 3  # of the time of the best other index
MAX_COST_SHARE = 1 / 30  # of the cost of the ALS baseline
MAX_CALL_RATIO = 3.0  # time of a whole call over that of the bare search
_TARGETS_FROM_TITLES = 1_000_000


def add_engine(report: Report, name: str, measured: Sequence[Mapping[str, Any]], titles: int) -> None:
    """Add the cost of building each configuration, and the queries a second of the best one by recall."""
    for configuration in measured:
        how: dict[str, Any] = {"index": name, "titles": titles, "config": _short(configuration["config"])}
        report.add(
            "build time",
            configuration["built"]["seconds"],
            "s",
            processor_s=configuration["built"]["processor_s"],
            **how,
        )
        report.add("stored bytes", configuration["built"]["bytes"], "bytes", **how)
        if configuration.get("most_recall") is not None:
            report.add("recall@10 with the most effort tried", configuration["most_recall"], "share", **how)
    for wanted in sorted({recall for configuration in measured for recall in configuration["by_recall"]}):
        fastest = best(measured, wanted)
        if fastest is None:
            continue
        search = fastest["by_recall"][wanted]
        how = {"index": name, "titles": titles, "recall_at_10": wanted, "config": _short(fastest["config"])}
        how |= {
            "measured_recall": round(search["recall"], 4),
            "knobs": search["knobs"],
            "load": round(search["load"], 1),
        }
        report.add("queries a second of processor time, one thread", 1 / search["processor_s"], "1/s", **how)
        report.add("queries a second, one thread", 1 / search["wall_s"], "1/s", **how)
        report.add("queries a second, all threads", 1 / search["wall_all_s"], "1/s", threads=fastest["threads"], **how)


def best(measured: Sequence[Mapping[str, Any]], wanted: str) -> Mapping[str, Any] | None:
    """The configuration that reaches a recall with the least processor time; None where none does."""
    reached = [configuration for configuration in measured if wanted in configuration["by_recall"]]
    return min(reached, key=lambda configuration: configuration["by_recall"][wanted]["processor_s"], default=None)


def add_calls(report: Report, measured: Mapping[str, Any], titles: int, price_per_hour: float) -> None:
    """Add milliseconds per list, and the cost of a million lists at `price_per_hour` of one core."""
    how = {"titles": titles, "titles_in_history": round(measured["titles_in_history"], 1)}
    for kind, cost in measured["calls"].items():
        _add_kind(report, kind, cost, price_per_hour, how)


def add_als(report: Report, measured: Mapping[str, Any], titles: int, price_per_hour: float) -> None:
    """Add the same figures of the ALS baseline."""
    for kind, cost in measured.items():
        _add_kind(report, f"ALS, {kind}", cost, price_per_hour, {"titles": titles})


def _add_kind(
    report: Report, kind: str, measured: Mapping[str, Any], price_per_hour: float, how: Mapping[str, Any]
) -> None:
    how = {**how, "wall_ms": round(measured["wall_ms"], 3), "load": round(measured["load"], 1)}
    report.add(f"processor time of a list: {kind}", measured["processor_ms"], "ms", **how)
    cost = measured["processor_ms"] / 1000 * _MILLION / 3600 * price_per_hour
    report.add(f"cost of a million lists: {kind}", cost, "currency", price_per_hour=price_per_hour)


def add_filters(report: Report, measured: Mapping[str, Any], titles: int, _price_per_hour: float) -> None:
    """Add recall and processor time by the selectivity of the filter."""
    for country, figures in measured.items():
        drawn = "the least popular" if country == "AF" else "drawn at random"
        how = {"titles": titles, "on_offer": figures["share"], "which": drawn, "plans": figures["plans"]}
        report.add("recall@10 by filter", figures["recall"], "share", **how)
        report.add("processor time by filter", figures["processor_ms"], "ms", **how)


def add_ratios(
    report: Report, engines: Mapping[str, Sequence[Mapping[str, Any]]], calls: Mapping[str, Any], titles: int
) -> None:
    """Add the ratios that have targets, where both sides were measured. Targets apply from a million titles."""
    is_large = titles >= _TARGETS_FROM_TITLES
    for wanted in ("0.95", "0.99"):
        times = {}
        for name, measured in engines.items():
            fastest = best(measured, wanted)
            if fastest is not None:
                times[name] = fastest["by_recall"][wanted]["processor_s"]
        other_times = {name: seconds for name, seconds in times.items() if name != OURS}
        if OURS in times and other_times:
            other = min(other_times, key=lambda name: other_times[name])
            target = MAX_SEARCH_SHARE if is_large and wanted == "0.95" else None
            how: dict[str, Any] = {"titles": titles, "recall_at_10": wanted, "best_other": other}
            report.add("ScaNN's time over the best other's", times[OURS] / other_times[other], "ratio", target, **how)
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
