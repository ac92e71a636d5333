"""Named settings of the dial, chosen by a rule from what each costs and gives, as indexing.build takes them."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conf.settings import Dial, Settings
from models.errors import ModelError
from models.evaluation import dial_curve
from models.evaluation.dial_curve import Counts, DialLists, DialPoint, ScoreUsers
from models.evaluation.evaluation_set import EvaluationSet
from models.tracking import registry

NAMES = (POPULAR, BALANCED, DISCOVER, GEMS) = ("popular", "balanced", "discover", "gems")
FILE = "dial.json"  # in the run of a registered model


def choose(points: Sequence[DialPoint], options: Dial) -> dict[str, DialPoint]:
    """The point of each of NAMES. Of equal ones the one with the dial nearest to 0 is taken.

    balanced  the greatest coverage of those whose NDCG is at most `balanced_max_loss_share` below the best NDCG
    discover  the greatest coverage of those whose recall is at most `discover_max_loss_share` below the best recall
    gems      the greatest novelty of those whose recall is at most `gems_max_loss_share` below it
    popular   the greatest mean popularity of those whose recall is at most `popular_max_loss_share` below it

    From gems over discover and balanced to popular the dial never falls: what would is left out of the choice.
    Raises ModelError for no points.
    """
    if not points:
        raise ModelError("no settings of the dial were measured, so none can be chosen; see dial.values")
    best = max(point.recall for point in points)

    def within(loss_share: float, is_on_its_side: Callable[[DialPoint], bool], otherwise: DialPoint) -> list[DialPoint]:
        found = [point for point in points if point.recall >= (1 - loss_share) * best and is_on_its_side(point)]
        return found or [otherwise]

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
    """A model at every setting of dial.values, and at some more between them, where the named ones end.

    `counts` [titles] are positives in training, of `count_users`.
    """
    k, dials = settings.evaluation.k[0], list(settings.dial.values)
    scale = settings.index.popularity_scale
    turned = dial_curve.recommend_at_dials(score, evaluation_set, counts, scale, dials, k)
    points = dial_curve.measure_points(turned, evaluation_set, counts, count_users, settings.evaluation)
    for _ in range(settings.dial.refinements):
        if not (dials := refine_dials(points, settings.dial)):
            break
        more = dial_curve.recommend_at_dials(score, evaluation_set, counts, scale, dials, k)
        turned = turned.beside(more)
        points = [*points, *dial_curve.measure_points(more, evaluation_set, counts, count_users, settings.evaluation)]
        points.sort(key=lambda point: point.dial)
    return turned, points


def refine_dials(points: Sequence[DialPoint], options: Dial) -> list[float]:
    """Dials halfway from each named setting, but for balanced, to the next one that was measured further out."""
    chosen = choose(points, options)
    measured = [point.dial for point in points]
    found = []
    for name, outwards in ((DISCOVER, -1), (GEMS, -1), (POPULAR, 1)):
        own = chosen[name].dial
        beyond = [dial for dial in measured if (dial - own) * outwards > 0]
        if beyond:
            found.append((own + (min(beyond) if outwards > 0 else max(beyond))) / 2)
    return sorted(set(found))


def pareto_front(points: Sequence[DialPoint], gain: str, cost: str, less_is_more: bool) -> list[bool]:
    """[points]: whether no other point is better in one of two figures and no worse in the other.

    `gain` names a field of which more is better, `cost` the other one, of which less is better if `less_is_more`.
    """
    sign = -1 if less_is_more else 1
    pairs = [(getattr(point, gain), sign * getattr(point, cost)) for point in points]
    return [not any(_dominates(other, own) for other in pairs) for own in pairs]


def for_index(settings: Settings, points: Sequence[DialPoint], spread: float, measured: str) -> dict[str, Any]:
    """What `indexing.build --dial` takes: dials in units of scores, which deviate by `spread` for a user.

    `measured` says by what the points were, and on what.
    """
    chosen, reach = choose(points, settings.dial), settings.index.dial_reach
    return {
        "minimum": -reach * spread,
        "maximum": reach * spread,
        "settings": {name: point.dial * spread for name, point in chosen.items()},
        "source": f"chosen by the rule of models.dial_settings, in units of {spread:.6g}; measured by {measured}",
    }


def keep_for_builds(settings: Settings, model: str, for_index: str) -> None:
    """Put what `indexing.build` is to give a registered model into its run, where it looks for it."""
    if not registry.keep_text(settings, model, FILE, for_index):
        raise ModelError(f"{model} was registered without a run, which could keep settings of the dial; use --dial")


def to_json(found: Mapping[str, Any]) -> str:
    return json.dumps(found, indent=1) + "\n"


def _best(points: Sequence[DialPoint], figure: Callable[[DialPoint], float]) -> DialPoint:
    return max(points, key=lambda point: (figure(point), -abs(point.dial)))


def _dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))
