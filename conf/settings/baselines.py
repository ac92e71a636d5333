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


class RidgeBaseline(Section):
    noise: Annotated[float, Field(gt=0)]  # of a title of mean popularity; the kernel of a title with itself is 1
    noise_power: Annotated[float, Field(ge=0)]  # the less popular, the noisier
    length_scale: Annotated[float, Field(gt=0)]  # of the kernel; two titles are some sqrt(2) apart
    cold_scale: Annotated[float, Field(gt=0)]  # predictions are too short: how much longer cold titles are made


class MarecBaseline(Section):
    regularization: Annotated[float, Field(gt=0)]
    alignment: Annotated[float, Field(ge=0)]  # weight of what content says beside what users liked


class Baselines(Section):
    max_titles: Positive  # EASE, MARec and ridges are quadratic in titles: only the most liked ones are used
    als: AlsOptions
    ease: EaseBaseline
    ridge: RidgeBaseline
    marec: MarecBaseline
