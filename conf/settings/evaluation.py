"""Measurement of lists, and reports: evaluation, report."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from conf.settings.section import Location, Positive, Section


class Evaluation(Section):
    k: Annotated[Sequence[Positive], Field(min_length=1), AfterValidator(tuple)] = Field(
        description="lengths of the lists to measure; reports and the gate use the first one"
    )
    resamples: Positive = Field(description="number of bootstrap resamples of users, for intervals")


class Report(Section):
    root: Location = Field(description="folder of reports, with one folder per night")
    users: Positive = Field(description="example users of the nightly report")
    price_per_hour: Annotated[float, Field(ge=0)] = Field(
        description="price of the nightly machine per hour, in any currency"
    )
