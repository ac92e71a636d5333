"""From feeds to staging tables and interactions: staging, interactions."""

from typing import Annotated

from pydantic import Field, model_validator

from conf.settings.section import Section, Share


class Staging(Section):
    max_rejected_share: Share = Field(
        description="largest accepted share of rejected lines in a feed day, not counting duplicates"
    )
    max_removed_share: Share = Field(
        description="largest accepted share of a snapshot table's rows that a new snapshot removes"
    )
    copy_window_days: Annotated[int, Field(ge=0)] = Field(
        description="days around an event's feed day that are searched for copies of it"
    )
    min_rating: float = Field(description="lowest valid rating")
    max_rating: float = Field(description="highest valid rating")

    @model_validator(mode="after")
    def _ratings_are_a_range(self) -> "Staging":
        if self.min_rating >= self.max_rating:
            raise ValueError(f"min_rating {self.min_rating} must be below max_rating {self.max_rating}")
        return self


class Interactions(Section):
    """Weights are in units of a like; an event type whose weight is 0 makes no interaction."""

    impression: float = Field(description="weight of an impression, in likes; 0 makes no interaction")
    detail_view: float = Field(description="weight of a view of the title's page, in likes")
    clickout: float = Field(description="weight of a click to a provider, in likes")
    watchlist_add: float = Field(description="weight of an addition to the watchlist, in likes")
    seen: float = Field(description="weight of a title marked as seen, in likes")
    like: float = Field(description="weight of a like")
    dislike: float = Field(description="weight of a dislike, in likes")
    rating_neutral: float = Field(
        description="rating of weight 0; a rating r weighs (r - rating_neutral) / (staging.max_rating - rating_neutral)"
    )
    positive_min_weight: Annotated[float, Field(gt=0)] = Field(description="smallest weight of a positive")
