"""A search for the parameters of ALS that are best on validation data, over a declared grid."""

import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Literal, TypeAlias

import numpy as np

logger = logging.getLogger(__name__)

_MAX_CHANGES = 2  # of parameters in one step of a climb


@dataclass(frozen=True)
class AlsParameters:
    """A point of the search: arguments of `Als`, by their names."""

    factors: int
    regularization: float
    alpha: float
    iterations: int


@dataclass(frozen=True)
class AlsGrid:
    """The values that each parameter may take, ascending: neighbours on the grid are next to one another here."""

    factors: Sequence[int]
    regularization: Sequence[float]
    alpha: Sequence[float]
    iterations: Sequence[int]

    def __post_init__(self) -> None:
        for name, values in self._axes().items():
            if not values or list(values) != sorted(set(values)):
                raise ValueError(f"{name}: expected different values in ascending order, found {list(values)}")

    @property
    def count_points(self) -> int:
        return math.prod(len(values) for values in self._axes().values())

    def point(self, number: int) -> AlsParameters:
        """One of the points, by its number below `count_points`."""
        shape = [len(values) for values in self._axes().values()]
        factors, regularization, alpha, iterations = (int(step) for step in np.unravel_index(number, shape))
        return AlsParameters(
            self.factors[factors], self.regularization[regularization], self.alpha[alpha], self.iterations[iterations]
        )

    def neighbours(self, parameters: AlsParameters, count_changes: int) -> Iterator[AlsParameters]:
        """The points one step away, up or down, along each of `count_changes` axes."""
        for names in itertools.combinations(self._axes(), count_changes):
            for values in itertools.product(*(self._next_values(parameters, name) for name in names)):
                yield AlsParameters(**{**asdict(parameters), **dict(zip(names, values, strict=True))})

    def ends(self, parameters: AlsParameters) -> tuple[str, ...]:
        """Names of the parameters at an end of more than one value: there the grid may be too narrow."""
        return tuple(
            name
            for name, values in self._axes().items()
            if len(values) > 1 and getattr(parameters, name) in (values[0], values[-1])
        )

    def _next_values(self, parameters: AlsParameters, name: str) -> list[float]:
        values = self._axes()[name]
        step = list(values).index(getattr(parameters, name))
        return [values[neighbour] for neighbour in (step - 1, step + 1) if 0 <= neighbour < len(values)]

    def _axes(self) -> dict[str, Sequence[float]]:
        return {axis.name: getattr(self, axis.name) for axis in fields(self)}


@dataclass(frozen=True)
class Trial:
    """One point that was tried, its objective (greater is better), and the stage that tried it."""

    parameters: AlsParameters
    objective: float
    stage: Literal["random", "neighbour"]
    seconds: float = field(compare=False)


Objective: TypeAlias = Callable[[AlsParameters], float]


def search_als(
    objective: Objective, grid: AlsGrid, count_random: int, count_climbs: int, max_trials: int, seed: int
) -> list[Trial]:
    """All trials in the order made, no point twice: `best_trial` names the winner.

    First `count_random` points drawn without replacement. Then from each of the `count_climbs` best of them, best
    first, all neighbours on the grid are tried and the climb goes on from the best one, while that is an improvement;
    where no single step is one, steps of two parameters at once are tried, since regularisation and alpha must grow
    together. Ends early at `max_trials`. The same seed tries the same points, given an objective that returns the same
    values. Random points cover the parameters that matter sooner than the grid's order would: Bergstra and Bengio 2012,
    Random search for hyper-parameter optimization.

    `objective` trains and measures, on validation data that training did not see. Raises ValueError where it returns
    anything but a finite number, and for less than one random point or trial.
    """
    if count_random < 1 or max_trials < 1:
        raise ValueError(f"expected count_random and max_trials of 1 or more, found {count_random} and {max_trials}")
    search = _Search(objective, max_trials)
    order = np.random.default_rng(seed).permutation(grid.count_points)
    search.try_all([grid.point(int(number)) for number in order[:count_random]], "random")
    starts = sorted(search.trials, key=_rank)[:count_climbs]
    for start in starts:
        _climb(search, grid, start)
    ends = grid.ends(best_trial(search.trials).parameters)
    if ends:
        logger.warning("the best parameters found are at an end of the grid for: %s; widen it there", ", ".join(ends))
    return search.trials


def best_trial(trials: Sequence[Trial]) -> Trial:
    """The trial of the greatest objective, the earliest of equals."""
    return min(trials, key=_rank)


def _climb(search: "_Search", grid: AlsGrid, start: Trial) -> None:
    top, count_changes = start, 1
    while count_changes <= _MAX_CHANGES:
        around = search.try_all(list(grid.neighbours(top.parameters, count_changes)), "neighbour")
        best = min([top, *around], key=_rank)
        count_changes = count_changes + 1 if best is top else 1
        top = best


class _Search:
    """Trials made so far, so that no point is tried twice."""

    def __init__(self, objective: Objective, max_trials: int) -> None:
        self._objective = objective
        self._max_trials = max_trials
        self._by_parameters: dict[AlsParameters, Trial] = {}

    @property
    def trials(self) -> list[Trial]:
        return list(self._by_parameters.values())

    def try_all(self, points: Sequence[AlsParameters], stage: Literal["random", "neighbour"]) -> list[Trial]:
        """The trials of `points`, new or made before; without those that `max_trials` leaves no room for."""
        for parameters in points:
            if parameters not in self._by_parameters and len(self._by_parameters) < self._max_trials:
                self._by_parameters[parameters] = self._try(parameters, stage)
        return [self._by_parameters[parameters] for parameters in points if parameters in self._by_parameters]

    def _try(self, parameters: AlsParameters, stage: Literal["random", "neighbour"]) -> Trial:
        start = time.perf_counter()
        objective = float(self._objective(parameters))
        if not math.isfinite(objective):
            raise ValueError(f"the objective of {parameters} is {objective}; expected a finite number")
        trial = Trial(parameters, objective, stage, time.perf_counter() - start)
        logger.info("ALS %s: %.5f in %.0f s", parameters, objective, trial.seconds)
        return trial


def _rank(trial: Trial) -> float:
    """Best first; sorting is stable, so the earliest of equals."""
    return -trial.objective
