"""How a bundle is built, and the settings of its popularity dial: index, dial."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from conf.settings.section import FROZEN, Count, Positive, Section, Share


class Dial(Section):
    """Which settings of the popularity dial are measured, and how the named ones are chosen; see models/dial_settings.

    Values are in standard deviations of a user's scores of the candidates: below 0 hidden gems, above 0 the well known.
    """

    values: Annotated[Sequence[float], Field(min_length=1), AfterValidator(tuple)]
    refinements: Count  # how often halfway between a named setting and the next one is measured, too
    balanced_max_loss_share: Share  # of the best NDCG, that it may cost
    popular_max_loss_share: Share  # of the best recall, that each may cost
    discover_max_loss_share: Share
    gems_max_loss_share: Share


class Index(Section):
    """How a bundle is built; dial values are in standard deviations of a user's scores of the candidates."""

    # What the dial turns: log(1 + positives), or the share of titles with fewer. Bundles of before are of the first.
    popularity_scale: Literal["log", "rank"] = "log"
    freshness_decay_days: Annotated[float, Field(gt=0)]
    dial_settings: Annotated[Mapping[str, float], *FROZEN]
    dial_reach: Annotated[float, Field(gt=0)]  # how far the dial may be turned to either side
    brute_force_below_titles: Count  # ScaNN's own rule
    tree_from_titles: Count  # likewise; in between titles are hashed, but all are looked at
    leaves_per_root: Annotated[float, Field(gt=0)]  # leaves of the tree per square root of titles
    threads: Count  # that compile a searcher; 0 is all
    queries: Annotated[int, Field(ge=2)]  # histories that the searchers are tuned with, and as many that measure them
    min_recall_at_10: Share
    min_recall_at_100: Share
    min_overlap: Share  # of top 20s: of both searchers, and of what training and the bundle answer golden users
    max_score_difference: Annotated[float, Field(gt=0)]  # training against bundle, in those standard deviations
    golden_users: Positive
    keep_bundles: Positive  # the newest ones, beside those below and the live one
    keep_days: Count  # bundles younger than this
