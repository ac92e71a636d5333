"""How towers are trained: training, position_bias."""

from typing import Annotated, Literal

from pydantic import Field

from conf.settings.section import Location, Positive, Section


class PositionBias(Section):
    """Correction of clicks for the rank that a title was shown at; see models/debiasing."""

    random_variant: str = Field(description="variant of the events whose lists were in random order")
    max_weight: Annotated[float, Field(ge=1)] = Field(
        description="most that a click weighs in training for a low place in its list; 1 corrects nothing"
    )
    exposure_power: Annotated[float, Field(ge=0)] = Field(
        description="a title's likes are divided by how often it was looked at to this power, in training"
    )
    debiased_popularity_power: Annotated[float, Field(ge=0)] = Field(
        description="the same for the popularity that cold users' recommendations go by"
    )


class Training(Section):
    loss: Literal["auto", "user_softmax", "sampled_softmax"] = Field(
        description="user_softmax or sampled_softmax; auto takes the first up to max_softmax_titles titles"
    )
    max_softmax_titles: Positive = Field(description="most titles for user_softmax and for EASE in the model")
    epochs: Positive = Field(description="most epochs")
    warm_start: bool = Field(
        description="whether training begins with the champion's towers, where there is a champion"
    )
    warm_start_epochs: Positive = Field(description="most epochs of a warm start")
    users_per_batch: Positive = Field(description="user_softmax: users of a batch")
    examples_per_batch: Positive = Field(description="sampled_softmax: examples of a batch")
    uniform_negatives: Positive = Field(
        description="sampled_softmax: negatives drawn evenly from the catalogue, beside the batch's own"
    )
    correct_sampling: bool = Field(
        description="sampled_softmax: whether logits are corrected for how often a title is drawn"
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(description="Adam's learning rate at the start")
    patience_epochs: Positive = Field(
        description="epochs without a better validation figure that end training, where a split holds something back"
    )
    shuffle_buffer_rows: Positive = Field(description="rows that are shuffled with one another")
    reader_threads: Positive = Field(description="threads that read Parquet files")
    strategy: Literal["auto", "none", "mirrored", "multi_worker"] = Field(
        description="TensorFlow's way to use several devices; auto takes mirrored where there is a GPU"
    )
    mixed_precision: Literal["auto", "on", "off"] = Field(description="bfloat16 products; auto where there is a GPU")
    xla: Literal["auto", "on", "off"] = Field(description="XLA compilation; auto where there is a GPU")
    checkpoints: Location = Field(description="folder or URI of unfinished trainings, which are resumed")
