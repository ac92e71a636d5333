"""From feeds to staging tables and interactions: staging, interactions, change_rows."""

from typing import Annotated

from pydantic import Field, model_validator

from conf.settings.section import Positive, Section, Share


class Staging(Section):
    max_rejected_share: Share  # of a feed day's lines; duplicates do not count
    max_removed_share: Share  # of a snapshot table's rows that one new snapshot may take away
    copy_window_days: Annotated[int, Field(ge=0)]  # how far from its feed day copies of an event are looked for
    min_rating: float
    max_rating: float

    @model_validator(mode="after")
    def _ratings_are_a_range(self) -> "Staging":
        if self.min_rating >= self.max_rating:
            raise ValueError(f"min_rating {self.min_rating} must be below max_rating {self.max_rating}")
        return self


class Interactions(Section):
    """Weights are in units of a like; an event type whose weight is 0 makes no interaction."""

    impression: float
    detail_view: float
    clickout: float
    watchlist_add: float
    seen: float
    like: float
    dislike: float
    rating_neutral: float  # a rating weighs (rating - rating_neutral) / (staging.max_rating - rating_neutral)
    positive_min_weight: Annotated[float, Field(gt=0)]


class ChangeRows(Section):
    checkpoint_days: Positive  # every so many days each key has a row, so that an as-of read goes back no further
