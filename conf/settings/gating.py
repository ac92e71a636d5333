"""Conditions for a challenger to pass the gate: gate."""

from typing import Annotated, Literal

from pydantic import Field

from conf.settings.section import Positive, Section, Share


class Gate(Section):
    """Limits for a challenger, compared with the champion, or with the ALS baseline where there is none."""

    split: Literal["validation", "test"] = Field(description="split that the gate compares models on")
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        description="confidence required to call a loss in a segment real, over all segments together"
    )
    min_users: Positive = Field(description="fewest users of a segment that can refuse a challenger")
    min_gain: float = Field(description="the mean differences of recall and NDCG over all users must be above it")
    max_overall_loss_share: Share = Field(
        description="furthest that the interval of these differences may reach below 0, as a share of the champion's"
    )
    max_segment_loss_share: Share = Field(
        description="largest accepted loss of a segment, as a share of the champion's figure"
    )
    max_coverage_loss_share: Share = Field(
        description="largest accepted loss of coverage, as a share of the champion's"
    )
    max_popularity_gain_share: Annotated[float, Field(ge=0)] = Field(
        description="largest accepted rise of the lists' mean popularity, as a share of the champion's"
    )
    max_unseen_share: Share = Field(description="largest accepted share of list ranks that go to unseen titles")
    min_cold_to_warm: Share = Field(
        description="smallest accepted recall of new titles in a backtest, as a share of the recall of known titles"
    )
    max_rejected_share: Share = Field(
        description="largest accepted share of rejected lines in the night's feed, not counting duplicates"
    )
    min_events_share: Share = Field(
        description="smallest accepted number of events of the night, as a share of the median of the seven days before"
    )
