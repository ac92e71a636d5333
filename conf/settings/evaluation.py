"""How lists are measured: evaluation, readiness, backtest, report."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from conf.settings.section import Count, Location, Positive, Section, Share


class Evaluation(Section):
    k: Annotated[Sequence[Positive], Field(min_length=1), AfterValidator(tuple)]  # lengths of the lists measured
    resamples: Positive  # of users, for intervals
    confidence: Annotated[float, Field(gt=0, lt=1)]
    head_share: Share  # of all positives: the most popular titles that together have it are the head
    head_and_mid_share: Share  # likewise with the titles after them; the others that have a positive are the tail
    ages_days: Annotated[Sequence[Count], AfterValidator(tuple)]  # ages at which segments of positives begin


class Report(Section):
    root: Location  # <root>/<day>/ holds the pages of a night
    users: Positive  # examples, old recommender against new
    price_per_hour: Annotated[float, Field(ge=0)]  # of the machine that a night runs on, in any currency


class Readiness(Section):
    """How titles are found whose placing by content tells of that of a new one; see models/readiness.py."""

    max_titles: Positive  # known titles, the most liked; memory grows with their square, time with their cube
    people: Positive  # whose scores are compared
    kernel_power: Annotated[float, Field(gt=0)]  # of the model's kernel: the higher, the fewer titles count as alike
    spread_width: Annotated[float, Field(gt=0)]  # how far apart, as a logarithm, predictions as decided may be


class Backtest(Section):
    """How new titles fare on historical nights; see models/backtest.py."""

    known_likes: Annotated[Sequence[Count], AfterValidator(tuple)]  # of a title, at which segments of positives begin
    later_days: Positive  # a title is no longer new so long after its release
