"""How towers are trained: training, position_bias."""

from typing import Annotated, Literal

from pydantic import Field

from conf.settings.section import Location, Positive, Section, Share


class PositionBias(Section):
    """What a title's place in a list does to its clicks; see models/position_bias.py."""

    random_variant: str  # of events whose titles stood in random order
    max_weight: Annotated[float, Field(ge=1)]  # of a click in training, for its place in the list; 1 corrects nothing
    exposure_power: Annotated[float, Field(ge=0)]  # of how often a title was looked at, that its likes are divided by
    debiased_popularity_power: Annotated[float, Field(ge=0)]  # the same, of what cold users are recommended
    min_clicks: Positive  # in random order, for the correction to be made


class Training(Section):
    loss: Literal["auto", "user_softmax", "sampled_softmax"]  # auto: the first while the catalogue allows it
    max_softmax_titles: Positive
    epochs: Positive
    warm_start: bool  # begin with the champion's towers, where there is a champion
    warm_start_epochs: Positive  # then so many are enough
    users_per_batch: Positive  # user_softmax
    examples_per_batch: Positive  # sampled_softmax
    uniform_negatives: Positive
    correct_sampling: bool
    learning_rate: Annotated[float, Field(gt=0)]
    final_learning_rate_share: Share
    patience_epochs: Positive  # without a better validation figure, where a split holds something back
    validation_users: Positive  # at most so many are asked after each epoch
    shuffle_buffer_rows: Positive
    reader_threads: Positive
    strategy: Literal["auto", "none", "mirrored", "multi_worker"]
    mixed_precision: Literal["auto", "on", "off"]
    xla: Literal["auto", "on", "off"]
    checkpoints: Location  # unfinished trainings, to go on from
