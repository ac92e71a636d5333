"""The recommenders that the model is compared with: baselines."""

from typing import Annotated

from pydantic import Field

from conf.settings.section import Positive, Section


class AlsOptions(Section):
    factors: Positive = Field(description="ALS: factors of a title and a user")
    regularization: Annotated[float, Field(ge=0)] = Field(description="ALS: L2 penalty on factors")
    alpha: Annotated[float, Field(gt=0)] = Field(description="ALS: weight of a positive, beside 1 of every other title")
    iterations: Positive = Field(description="ALS: alternations")


class EaseBaseline(Section):
    regularization: Annotated[float, Field(gt=0)] = Field(description="EASE: L2 penalty")


class Baselines(Section):
    als: AlsOptions
    ease: EaseBaseline
