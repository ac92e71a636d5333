"""How a bundle is built, and the settings of its popularity dial: index, dial."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from conf.settings.section import FROZEN, Count, Positive, Section, Share


class Dial(Section):
    """Which settings of the popularity dial are measured, and how the named ones are chosen.

    Values are in standard deviations of a user's scores of the candidates. See models/evaluation/dial_settings.py.
    """

    values: Annotated[Sequence[float], Field(min_length=1), AfterValidator(tuple)] = Field(
        description="settings of the dial that are measured; below 0 favours lesser known titles"
    )
    balanced_max_loss_share: Share = Field(description="most that `balanced` may cost, as a share of the best NDCG")
    popular_max_loss_share: Share = Field(description="most that `popular` may cost, as a share of the best recall")
    discover_max_loss_share: Share = Field(description="most that `discover` may cost, as a share of the best recall")
    gems_max_loss_share: Share = Field(description="most that `gems` may cost, as a share of the best recall")


class Index(Section):
    """How a bundle is built; dial values are in standard deviations of a user's scores of the candidates."""

    popularity_scale: Literal["log", "rank"] = Field(
        default="log", description="what the dial adds: log is log(1 + positives), rank the share of titles with fewer"
    )
    freshness_decay_days: Annotated[float, Field(gt=0)] = Field(
        description="days after release in which freshness falls to 1/e"
    )
    dial_settings: Annotated[Mapping[str, float], *FROZEN] = Field(
        description="named settings of the dial of a model that was never measured"
    )
    dial_reach: Annotated[float, Field(gt=0)] = Field(
        description="how far the dial may be turned to either side, in standard deviations of a user's scores"
    )
    tree_from_titles: Count = Field(
        description="from so many titles on a tree is built; fewer are hashed and all looked at"
    )
    leaves_per_root: Annotated[float, Field(gt=0)] = Field(description="leaves of the tree per square root of titles")
    threads: Count = Field(description="threads that compile a searcher; 0 takes all")
    queries: Annotated[int, Field(ge=2)] = Field(
        description="histories that searchers are tuned with, and as many others that measure them"
    )
    min_recall_at_10: Share = Field(description="least recall@10 against exact search")
    min_recall_at_100: Share = Field(description="least recall@100 against exact search")
    min_overlap: Share = Field(
        description="least overlap of top 20s: of both searchers, and of training and bundle for golden users"
    )
    keep_bundles: Positive = Field(
        description="newest bundles that are kept, beside younger ones than keep_days and the live one"
    )
    keep_days: Count = Field(description="bundles younger than so many days are kept")
