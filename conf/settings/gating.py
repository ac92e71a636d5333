"""What a challenger must show: gate."""

from typing import Annotated, Literal

from pydantic import Field

from conf.settings.section import Positive, Section, Share


class Gate(Section):
    """What a challenger must show against the champion, or against the ALS baseline where there is none."""

    split: Literal["validation", "test"] = Field(description="split that is judged")
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        description="confidence that a loss in a segment is not chance, over all segments together"
    )
    min_users: Positive = Field(description="users a segment needs to decide anything")
    min_gain: float = Field(description="over all users the mean difference of recall and NDCG must lie above it")
    max_overall_loss_share: Share = Field(
        description="how far below 0 the interval of that difference may reach, as a share of the champion's figure"
    )
    max_segment_loss_share: Share = Field(
        description="loss of a segment that refuses, as a share of the champion's figure"
    )
    max_coverage_loss_share: Share = Field(description="loss of coverage that refuses, as a share of the champion's")
    max_popularity_gain_share: Annotated[float, Field(ge=0)] = Field(
        description="gain of mean popularity of what is listed that refuses, as a share of the champion's"
    )
    max_unseen_share: Share = Field(description="most of all ranks of lists that may go to unseen titles")
    min_cold_to_warm: Share = Field(
        description="least recall of new titles, as a share of that of known titles, in a backtest"
    )
    max_rejected_share: Share = Field(
        description="most of the night's feed lines that may have been rejected, duplicates not counted"
    )
    min_events_share: Share = Field(
        description="least events of the night, as a share of the median of the seven days before"
    )
