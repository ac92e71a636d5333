"""Named settings of the popularity dial, chosen by a rule from the dial's curve, as indexing.build reads them."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conf.settings import Dial, Settings
from models.errors import ModelError
from models.evaluation import dial_curve
from models.evaluation.dial_curve import Counts, DialLists, ScoreUsers
from models.evaluation.dial_points import DialPoint
from models.evaluation.evaluation_set import EvaluationSet
from models.tracking import registry

NAMES = (POPULAR, BALANCED, DISCOVER, GEMS) = ("popular", "balanced", "discover", "gems")
# How often the halfway points beside a named setting are measured too: each time halves the step of dial.values.
REFINEMENTS = 3
FILE = "dial.json"  # in the run of a registered model


def choose(points: Sequence[DialPoint], options: Dial) -> dict[str, DialPoint]:
    """The point of each of NAMES; of equal points the one with the dial nearest to 0.

    balanced  the greatest coverage among points whose NDCG is at most `balanced_max_loss_share` below the best NDCG
    discover  the greatest coverage among points whose recall is at most `discover_max_loss_share` below the best recall
    gems      the greatest novelty among points whose recall is at most `gems_max_loss_share` below it
    popular   the greatest mean popularity among points whose recall is at most `popular_max_loss_share` below it

    The dials ascend from gems over discover and balanced to popular; points that would break this order are not chosen.
    Raises ModelError for no points.
    """
    if not points:
        raise ModelError("no settings of the dial were measured, so none can be chosen; see dial.values")
    best = max(point.recall for point in points)

    def within(loss_share: float, is_on_its_side: Callable[[DialPoint], bool], otherwise: DialPoint) -> list[DialPoint]:
        near_best = [point for point in points if point.recall >= (1 - loss_share) * best and is_on_its_side(point)]
        return near_best or [otherwise]

    least_ndcg = (1 - options.balanced_max_loss_share) * max(point.ndcg for point in points)
    balanced = _best([point for point in points if point.ndcg >= least_ndcg], lambda point: point.coverage)
    near = within(options.discover_max_loss_share, lambda point: point.dial <= balanced.dial, balanced)
    discover = _best(near, lambda point: point.coverage)
    near = within(options.gems_max_loss_share, lambda point: point.dial <= discover.dial, discover)
    gems = _best(near, lambda point: point.novelty)
    near = within(options.popular_max_loss_share, lambda point: point.dial >= balanced.dial, balanced)
    popular = _best(near, lambda point: point.mean_popularity)
    return {POPULAR: popular, BALANCED: balanced, DISCOVER: discover, GEMS: gems}


def measure(
    score: ScoreUsers, evaluation_set: EvaluationSet, counts: Counts, count_users: int, settings: Settings
) -> tuple[DialLists, list[DialPoint]]:
    """A model's lists and points at every dial of dial.values, and at dials in between, near the named settings.

    `counts` [titles] are the positives of `count_users` users in training.
    """
    k, dials = settings.evaluation.k[0], list(settings.dial.values)
    scale = settings.index.popularity_scale
    at_dials = dial_curve.recommend_at_dials(score, evaluation_set, counts, scale, dials, k)
    points = dial_curve.measure_points(at_dials, evaluation_set, counts, count_users, settings.evaluation)
    for _ in range(REFINEMENTS):
        if not (dials := refine_dials(points, settings.dial)):
            break
        more = dial_curve.recommend_at_dials(score, evaluation_set, counts, scale, dials, k)
        at_dials = at_dials.merge(more)
        points = [*points, *dial_curve.measure_points(more, evaluation_set, counts, count_users, settings.evaluation)]
        points.sort(key=lambda point: point.dial)
    return at_dials, points


def refine_dials(points: Sequence[DialPoint], options: Dial) -> list[float]:
    """Dials halfway from each named setting, except balanced, to the next measured dial further out."""
    chosen = choose(points, options)
    measured = [point.dial for point in points]
    refined = []
    for name, outwards in ((DISCOVER, -1), (GEMS, -1), (POPULAR, 1)):
        dial = chosen[name].dial
        beyond = [further for further in measured if (further - dial) * outwards > 0]
        if beyond:
            refined.append((dial + (min(beyond) if outwards > 0 else max(beyond))) / 2)
    return sorted(set(refined))


def for_index(settings: Settings, points: Sequence[DialPoint], spread: float, measured: str) -> dict[str, Any]:
    """The content of `indexing.build --dial`: dials in units of scores, whose deviation for a user is `spread`.

    `measured` names the command and the evaluation set that the points come from.
    """
    chosen, reach = choose(points, settings.dial), settings.index.dial_reach
    return {
        "minimum": -reach * spread,
        "maximum": reach * spread,
        "settings": {name: point.dial * spread for name, point in chosen.items()},
        "source": f"chosen by the rule of models.dial_settings, in units of {spread:.6g}; measured by {measured}",
    }


def keep_for_builds(settings: Settings, model: str, for_index: str) -> None:
    """Keep the settings `for_index` in the run of a registered model, where `indexing.build` reads them."""
    if not registry.keep_text(settings, model, FILE, for_index):
        raise ModelError(f"{model} was registered without a run, so its dial settings cannot be kept; use --dial")


def to_json(for_index: Mapping[str, Any]) -> str:
    return json.dumps(for_index, indent=1) + "\n"


def _best(points: Sequence[DialPoint], figure: Callable[[DialPoint], float]) -> DialPoint:
    return max(points, key=lambda point: (figure(point), -abs(point.dial)))
