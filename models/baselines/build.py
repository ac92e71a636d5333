"""The baselines by name, as the settings have them."""

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


def baselines(options: Baselines, train: Positives, seed: int) -> Mapping[str, Callable[[], Recommender]]:
    """What makes each baseline, not fitted yet; `train` is what they are to be fitted on."""

    def als() -> Als:
        own = options.als
        return Als(own.factors, own.regularization, own.alpha, own.iterations, seed)

    def ease() -> Ease:
        return Ease(options.ease.regularization, options.max_titles, most_liked_only=options.max_titles)

    def ridge() -> ContentRidge:
        own = options.ridge
        return ContentRidge(
            noise=own.noise,
            max_titles=options.max_titles,
            length_scale=own.length_scale,
            noise_power=own.noise_power,
            cold_scale=own.cold_scale,
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
            options.marec.regularization,
            options.marec.alignment,
            options.max_titles,
            most_liked_only=options.max_titles,
        ),
    }
