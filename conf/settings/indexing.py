"""Building of bundles, and the popularity dial: index, dial."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from conf.settings.section import FROZEN, Count, Positive, Section, Share


class Dial(Section):
    """Popularity-dial sweep: the values measured, and the limits by which the named settings are chosen.

    Values are in standard deviations of a user's scores of the candidates. See models/evaluation/dial_settings.py.
    """

    values: Annotated[Sequence[float], Field(min_length=1), AfterValidator(tuple)] = Field(
        description="values of the dial to measure; below 0 favours lesser known titles"
    )
    balanced_max_loss_share: Share = Field(
        description="largest loss of NDCG that `balanced` may cost, as a share of the best NDCG"
    )
    popular_max_loss_share: Share = Field(
        description="largest loss of recall that `popular` may cost, as a share of the best recall"
    )
    discover_max_loss_share: Share = Field(
        description="largest loss of recall that `discover` may cost, as a share of the best recall"
    )
    gems_max_loss_share: Share = Field(
        description="largest loss of recall that `gems` may cost, as a share of the best recall"
    )


class Index(Section):
    """Bundle and ANN index. Dial values are in standard deviations of a user's scores of the candidates."""

    popularity_scale: Literal["log", "rank"] = Field(
        default="log",
        description="popularity that the dial adds: log is log(1 + positives), rank the share of titles with fewer",
    )
    freshness_decay_days: Annotated[float, Field(gt=0)] = Field(
        description="days after release after which freshness has fallen to 1/e"
    )
    dial_settings: Annotated[Mapping[str, float], *FROZEN] = Field(
        description="named settings of the dial, for a model whose dial was not measured"
    )
    dial_reach: Annotated[float, Field(gt=0)] = Field(
        description="largest absolute value of the dial, in standard deviations of a user's scores"
    )
    tree_from_titles: Count = Field(
        description="smallest catalogue that gets a tree; in smaller ones hashed vectors are scanned without a tree"
    )
    leaves_per_root: Annotated[float, Field(gt=0)] = Field(
        description="number of leaves of the tree, divided by the square root of the number of titles"
    )
    threads: Count = Field(description="threads that compile a searcher; 0 uses all cores")
    queries: Annotated[int, Field(ge=2)] = Field(
        description="histories that tune the searchers; as many others measure them"
    )
    min_recall_at_10: Share = Field(description="smallest accepted recall@10 against exact search")
    min_recall_at_100: Share = Field(description="smallest accepted recall@100 against exact search")
    min_overlap: Share = Field(
        description="lowest accepted overlap of top-20 lists: both searchers, and training and bundle for golden users"
    )
    keep_bundles: Positive = Field(
        description="number of newest bundles to keep, in addition to the live one and those younger than keep_days"
    )
    keep_days: Count = Field(description="bundles younger than this are kept")
