"""Points of the popularity dial's curve; apart from what measures them, so that a report loads without TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class DialPoint:
    """Means over users and figures over all lists at one setting of the dial."""

    dial: float
    recall: float
    ndcg: float
    coverage: float
    mean_popularity: float
    cold_share: float
    tail_recall: float  # of positives in the tail alone; NaN where there are none
    gini: float
    novelty: float  # in bits


def pareto_front(points: Sequence[DialPoint], gain: str, cost: str, less_is_more: bool) -> list[bool]:
    """[points]: True for Pareto-optimal points, which no other point beats in one figure without losing in the other.

    `gain` names a field of which more is better, `cost` another one, of which less is better if `less_is_more`.
    """
    sign = -1 if less_is_more else 1
    pairs = [(getattr(point, gain), sign * getattr(point, cost)) for point in points]
    return [not any(_dominates(other, pair) for other in pairs) for pair in pairs]


def _dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))
