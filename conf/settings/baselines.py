"""The recommenders that the model is compared with: baselines."""

from typing import Annotated

from pydantic import Field

from conf.settings.section import Positive, Section


class AlsOptions(Section):
    factors: Positive
    regularization: Annotated[float, Field(ge=0)]
    alpha: Annotated[float, Field(gt=0)]  # weight of a like, beside 1 of every other title
    iterations: Positive


class EaseBaseline(Section):
    regularization: Annotated[float, Field(gt=0)]


class Baselines(Section):
    als: AlsOptions
    ease: EaseBaseline
