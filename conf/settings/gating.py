"""What a challenger must show: gate."""

from typing import Annotated, Literal

from pydantic import Field

from conf.settings.section import Positive, Section, Share


class Gate(Section):
    """What a challenger must show against the champion, or ALS where there is none; shares are of that one's figure."""

    split: Literal["validation", "test"]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]  # that a loss in a segment is no chance, all segments together
    min_users: Positive  # smaller segments are shown and decide nothing
    min_gain: float  # over everybody the mean difference of recall and NDCG must lie above it
    max_overall_loss_share: Share  # nor may the interval of that difference reach further below 0
    max_segment_loss_share: Share
    max_coverage_loss_share: Share
    max_popularity_gain_share: Annotated[float, Field(ge=0)]
    max_unseen_share: Share  # of all places of lists, that may go to titles that nobody has met
    min_cold_to_warm: Share  # of the recall of known titles, that new ones must get on replayed nights
    max_rejected_share: Share  # of a night's lines, copies not counted
    min_events_share: Share  # of the median of the days before: less is half a feed
    events_days: Positive  # how many days before
