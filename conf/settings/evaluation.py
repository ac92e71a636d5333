"""Measurement of lists, and reports: evaluation, report."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from conf.settings.section import Location, Positive, Section


class Evaluation(Section):
    k: Annotated[Sequence[Positive], Field(min_length=1), AfterValidator(tuple)] = Field(
        description="lengths of the lists measured; the first is the one that reports and the gate show"
    )
    resamples: Positive = Field(description="bootstrap resamples of users for intervals")


class Report(Section):
    root: Location = Field(description="folder of reports; the pages of a night are in a folder named for its day")
    users: Positive = Field(description="example users of the nightly report")
    price_per_hour: Annotated[float, Field(ge=0)] = Field(
        description="price of the machine that a night runs on, in any currency"
    )
