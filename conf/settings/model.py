"""The parts of the model and their weights: model."""

from typing import Annotated

from pydantic import Field

from conf.settings.baselines import AlsOptions
from conf.settings.section import Positive, Section, Share, Weight


class ColdStart(Section):
    """Kernel ridge from content to learned vectors: the source for unseen titles, a prior for sparsely liked ones."""

    max_titles: Positive = Field(
        description="most liked titles that the kernel ridge is fitted on; its time grows with their cube"
    )
    alone_share: Share = Field(description="share of the kernel that compares each block of content by itself")
    scale: Annotated[float, Field(gt=0)] = Field(
        description="factor on the length of predicted vectors, which are too short"
    )
    length_power: Share = Field(description="1 gives all predicted vectors one length, 0 keeps the predicted lengths")
    prior_likes: Annotated[float, Field(ge=0)] = Field(
        description="likes that content counts as for a title that has likes; 0 leaves content out"
    )


class ModelEase(Section):
    """EASE as a part of the model; see `models.linear.ease.Ease`."""

    regularization: Annotated[float, Field(gt=0)] = Field(description="EASE in the model: L2 penalty")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="EASE in the model: share of a history dropped while it is fitted"
    )
    history_power: Annotated[float, Field(ge=0, le=1)] = Field(
        description="EASE in the model: a history is divided by its length to this power"
    )


class PartWeights(Section):
    """Weights of the parts of the score; scores of each part have standard deviation 1 over titles."""

    towers: Annotated[float, Field(gt=0)] = Field(description="weight of the towers")
    ease: Weight = Field(description="weight of EASE")
    content: Weight = Field(description="weight of the similarity by content to liked titles")
    als: Weight = Field(description="weight of ALS")


class Recency(Section):
    """Weight of a title of a history by how many were liked after it; see models/towers/query_module.py."""

    half_life_titles: Annotated[float, Field(gt=0)] | None = Field(
        description="later likes that halve the weight of a title of the history; null weighs all alike"
    )
    floor: Share = Field(description="weight of the oldest title of a history, beside 1 of the newest")


class Model(Section):
    dim: Positive = Field(description="size of an embedding of the towers")
    temperature: Annotated[float, Field(gt=0)] = Field(
        description="the towers' inner products are divided by it before the softmax"
    )
    als: AlsOptions
    ease: ModelEase
    weights: PartWeights
    recency: Recency
    compressed_dims: Annotated[int, Field(ge=2)] = Field(
        description="size of the one vector that a title's parts are compressed to"
    )
    cold_start: ColdStart
