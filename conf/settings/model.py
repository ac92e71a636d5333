"""The parts of the model and their weights: model."""

from typing import Annotated

from pydantic import Field

from conf.settings.baselines import AlsOptions
from conf.settings.section import Positive, Section, Share, Weight


class ColdStart(Section):
    """Kernel ridge from content to learned vectors: the source for unseen titles, a prior for sparsely liked ones."""

    max_titles: Positive = Field(
        description="liked titles up to which the kernel ridge is exact; with more it takes as long, by landmarks"
    )
    alone_share: Share = Field(description="share of the kernel that compares each block of content by itself")
    scale: Annotated[float, Field(gt=0)] = Field(
        description="factor on the length of predicted vectors, which otherwise are too short"
    )
    length_power: Share = Field(
        description="1 gives all predicted vectors the same length, 0 keeps the predicted lengths"
    )
    prior_likes: Annotated[float, Field(ge=0)] = Field(
        description="number of likes that content counts as, for a title with likes; 0 leaves content out"
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
    als: Weight = Field(description="weight of ALS; user_softmax only, since beside sampled_softmax it brings nothing")
    popularity: Weight = Field(
        description="sampled_softmax: weight of debiased popularity for users with a history; for those without it is 1"
    )


class Recency(Section):
    """Weight of a title in a history by the number of later likes; see models/towers/query_module.py."""

    half_life_titles: Annotated[float, Field(gt=0)] | None = Field(
        description="number of later likes that halves a title's weight in the history; null gives all the same weight"
    )
    floor: Share = Field(description="smallest weight of a title in the history, where the newest has 1")


class Model(Section):
    dim: Positive = Field(description="dimensions of the towers' embeddings")
    temperature: Annotated[float, Field(gt=0)] = Field(
        description="divisor of the towers' inner products before the softmax"
    )
    als: AlsOptions
    ease: ModelEase
    weights: PartWeights
    recency: Recency
    compressed_dims: Annotated[int, Field(ge=2)] = Field(
        description="dimensions of the vector that all parts of a title are compressed to"
    )
    cold_start: ColdStart
