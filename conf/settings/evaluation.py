"""How lists are measured: evaluation, readiness, backtest, report."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from conf.settings.section import Count, Location, Positive, Section, Share


class Evaluation(Section):
    k: Annotated[Sequence[Positive], Field(min_length=1), AfterValidator(tuple)] = Field(
        description="lengths of the lists measured; the first is the one that reports and the gate show"
    )
    resamples: Positive = Field(description="bootstrap resamples of users for intervals")
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(description="level of the intervals")
    head_share: Share = Field(
        description="head: the most popular titles that together have this share of all positives"
    )
    head_and_mid_share: Share = Field(
        description="head and mid: the same with the next titles; others with a positive are the tail"
    )
    ages_days: Annotated[Sequence[Count], AfterValidator(tuple)] = Field(
        description="ages at which segments of positives begin"
    )


class Report(Section):
    root: Location = Field(description="folder of reports; the pages of a night are in a folder named for its day")
    users: Positive = Field(description="example users of the nightly report")
    price_per_hour: Annotated[float, Field(ge=0)] = Field(
        description="price of the machine that a night runs on, in any currency"
    )


class Readiness(Section):
    """Known titles that are compared with a new one by content; see models/readiness.py."""

    max_titles: Positive = Field(
        description="most liked titles compared; memory grows with their square, time with their cube"
    )
    people: Positive = Field(description="users whose scores are compared")
    kernel_power: Annotated[float, Field(gt=0)] = Field(
        description="power of the model's kernel: the higher, the fewer titles count as alike"
    )
    spread_width: Annotated[float, Field(gt=0)] = Field(
        description="how far apart, as a logarithm, the spreads of two titles' predictions may be to count as alike"
    )


class Backtest(Section):
    """Recommendations of new titles on historical nights; see models/backtest.py."""

    known_likes: Annotated[Sequence[Count], AfterValidator(tuple)] = Field(
        description="likes of a title at which segments of positives begin"
    )
    later_days: Positive = Field(description="days after release from which a title is no longer new")
