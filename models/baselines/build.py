"""The baselines by name, with the parameters of the settings."""

from collections.abc import Callable, Mapping

from conf.settings import Baselines
from models.baselines.content_neighbours import ContentNeighbours
from models.baselines.marec import Marec
from models.baselines.popularity import Popularity, RecentPopularity
from models.baselines.ridge import AlsRidge, ContentRidge, EaseRidge
from models.data.positives import Positives, recent_counts
from models.linear.als import Als
from models.linear.ease import Ease
from models.recommender import Recommender

RECENT_DAYS = 28
# EASE, MARec and the ridges are quadratic in titles in memory: of more titles, the most liked are used.
MAX_TITLES = 20_000
# The ridge from content, tuned on the simulated guide. Noise is that of a title of mean popularity, where the kernel of
# a title with itself is 1, and grows as popularity falls; two titles are some sqrt(2) apart.
RIDGE_NOISE = 0.1
RIDGE_NOISE_POWER = 0.25
RIDGE_LENGTH_SCALE = 1.4
# MARec: as EASE, and content counts as much as likes.
MAREC_REGULARIZATION = 1000.0
MAREC_ALIGNMENT = 1.0


def baselines(options: Baselines, train: Positives, seed: int) -> Mapping[str, Callable[[], Recommender]]:
    """Factories of the baselines by name; `train` must be the positives that they are fitted on afterwards."""

    def als() -> Als:
        values = options.als
        return Als(values.factors, values.regularization, values.alpha, values.iterations, seed)

    def ease() -> Ease:
        return Ease(options.ease.regularization, MAX_TITLES, most_liked_only=MAX_TITLES)

    def ridge() -> ContentRidge:
        return ContentRidge(
            noise=RIDGE_NOISE,
            max_titles=MAX_TITLES,
            length_scale=RIDGE_LENGTH_SCALE,
            noise_power=RIDGE_NOISE_POWER,
        )

    return {
        "popularity": Popularity,
        "popularity_28d": lambda: RecentPopularity(recent_counts(train, RECENT_DAYS)),
        "als": als,
        "ease": ease,
        "content": ContentNeighbours,
        "als_ridge": lambda: AlsRidge(als(), ridge()),
        "ease_ridge": lambda: EaseRidge(ease(), ridge()),
        "marec": lambda: Marec(
            MAREC_REGULARIZATION,
            MAREC_ALIGNMENT,
            MAX_TITLES,
            most_liked_only=MAX_TITLES,
        ),
    }
