"""Training of the towers: training, position_bias."""

from typing import Annotated, Literal

from pydantic import Field

from conf.settings.section import Location, Positive, Section


class PositionBias(Section):
    """Correction of clicks for the rank at which a title was shown; see models/debiasing."""

    random_variant: str = Field(description="name of the variant that shows lists in random order, as events name it")
    max_weight: Annotated[float, Field(ge=1)] = Field(
        description="largest weight of a click in training, given to clicks far down a list; 1 turns the correction off"
    )
    exposure_power: Annotated[float, Field(ge=0)] = Field(
        description="in training, a title's likes are divided by its number of looks to this power"
    )
    debiased_popularity_power: Annotated[float, Field(ge=0)] = Field(
        description="the same power for the popularity that users without history get recommendations by"
    )


class Training(Section):
    loss: Literal["auto", "user_softmax", "sampled_softmax"] = Field(
        description="user_softmax scores every title for each user, sampled_softmax a sample; auto is the faster one"
    )
    negatives: Positive = Field(description="sampled_softmax: titles in the sample that all users of a batch share")
    epochs: Positive = Field(description="maximum number of epochs")
    max_steps: Positive = Field(
        description="steps that a training makes at most: fewer epochs, or a part of one, where there are many users"
    )
    warm_start: bool = Field(description="true starts training from the champion's towers, where there is a champion")
    warm_start_epochs: Positive = Field(description="maximum number of epochs of a warm start")
    users_per_batch: Positive = Field(description="users per batch")
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        description="Adam's learning rate at the start; it falls along a cosine"
    )
    patience_epochs: Positive = Field(
        description="epochs without a better validation figure after which training stops, given a validation split"
    )
    shuffle_buffer_rows: Positive = Field(description="size of the shuffle buffer, in rows")
    reader_threads: Positive = Field(description="threads reading Parquet files")
    strategy: Literal["auto", "none", "mirrored", "multi_worker"] = Field(
        description="TensorFlow's distribution strategy; auto is mirrored where there is a GPU, else none"
    )
    mixed_precision: Literal["auto", "on", "off"] = Field(
        description="bfloat16 matrix products; auto is on where there is a GPU"
    )
    xla: Literal["auto", "on", "off"] = Field(description="XLA compilation; auto is on where there is a GPU")
    checkpoints: Location = Field(
        description="folder or URI of checkpoints, from which an interrupted training resumes"
    )
