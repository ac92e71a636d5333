"""The parts of the model and their weights: model."""

from typing import Annotated

from pydantic import Field

from conf.settings.baselines import AlsOptions
from conf.settings.section import Positive, Section, Share, Weight


class ColdStart(Section):
    """How content speaks for titles that few or nobody liked: a kernel ridge from what was learnt of those liked."""

    max_titles: Positive  # of those with a vector, the most liked are learnt from; time grows with their cube
    alone_share: Share  # of the kernel, that comes of each block of content by itself
    scale: Annotated[float, Field(gt=0)]  # how much longer than predicted
    length_power: Share  # 1: all as long, however popular content promises a title to be; 0: as predicted
    prior_likes: Annotated[float, Field(ge=0)]  # that content counts as, of a title that has likes; 0: it has no say


class ModelEase(Section):
    """EASE as a part of the model; see `models.linear.ease.Ease`."""

    regularization: Annotated[float, Field(gt=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    history_power: Annotated[float, Field(ge=0, le=1)]


class PartWeights(Section):
    """How much each part counts, the scores of each having standard deviation 1 over titles."""

    towers: Annotated[float, Field(gt=0)]
    ease: Weight
    content: Weight  # of what the content of liked titles says of others
    als: Weight


class Recency(Section):
    """How much a title of a history counts, by how many were liked after it; see `models.towers.query_module`."""

    half_life_titles: Annotated[float, Field(gt=0)] | None  # none: all count alike
    floor: Share  # what the oldest one counts beside the newest


class Model(Section):
    dim: Positive  # of the towers
    temperature: Annotated[float, Field(gt=0)]
    als: AlsOptions
    ease: ModelEase
    weights: PartWeights
    recency: Recency
    compressed_dims: Annotated[int, Field(ge=2)]  # of the one vector that a title's parts become
    cold_start: ColdStart
