"""Baselines, the recommenders that the model is compared with: baselines."""

from typing import Annotated

from pydantic import Field

from conf.settings.section import Positive, Section


class AlsOptions(Section):
    factors: Positive = Field(description="ALS: dimensions of the factors")
    regularization: Annotated[float, Field(ge=0)] = Field(description="ALS: L2 penalty on factors")
    alpha: Annotated[float, Field(gt=0)] = Field(description="ALS: weight of a positive, where every other title has 1")
    iterations: Positive = Field(description="ALS: number of iterations")


class EaseBaseline(Section):
    regularization: Annotated[float, Field(gt=0)] = Field(description="EASE: L2 penalty")


class Baselines(Section):
    als: AlsOptions
    ease: EaseBaseline
