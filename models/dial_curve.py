"""What the popularity dial trades: accuracy, coverage and popularity of one model's lists at several settings of it.

The score of a title is the model's, plus the dial times the standardised log popularity of the title. The dial counts
in standard deviations of a user's scores, as in the settings of the index.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models import metrics
from models.histories import pad_newest_first
from models.recommender import recommend_by
from models.truth import Truth
from models.two_tower import CatalogueModel, TwoTower


@dataclass(frozen=True)
class DialPoint:
    """Means over users and figures over all lists at one setting of the dial."""

    dial: float
    recall: float
    ndcg: float
    coverage: float
    mean_popularity: float
    cold_share: float


def curve(
    trained: TwoTower, bound: CatalogueModel, asked: Truth, liked: sparse.csr_matrix, dials: list[float], k: int
) -> list[DialPoint]:
    """A point per dial; `liked` [users, titles] is what the model was trained on, `bound` is it over the catalogue."""
    counts = np.bincount(liked.indices, minlength=liked.shape[1])
    popularity = _standardised(np.log1p(counts), asked.candidates)
    countries = trained.country_ids(asked.countries)
    padded = pad_newest_first(asked.histories, asked.history_ages_days, countries, trained.history_length)
    points = []
    for dial in dials:

        def scores(users: slice, dial: float = dial) -> NDArray[np.float32]:
            own = bound.score_padded(padded.part(users))
            spread = own[:, asked.candidates].std(axis=1, keepdims=True)
            return (own + dial * spread * popularity).astype(np.float32)

        lists = recommend_by(scores, asked.histories, k, asked.candidates, asked.ignored)
        points.append(
            DialPoint(
                dial=dial,
                recall=float(metrics.recall_at_k(lists, asked.relevant, k).mean()),
                ndcg=float(metrics.ndcg_at_k(lists, asked.relevant, k).mean()),
                coverage=metrics.coverage_at_k(lists, asked.candidates, k),
                mean_popularity=float(np.nanmean(metrics.mean_popularity_at_k(lists, counts, k))),
                cold_share=float(np.nanmean(metrics.cold_share_at_k(lists, counts, k))),
            )
        )
    return points


def _standardised(values: NDArray[np.float64], candidates: NDArray[np.bool_]) -> NDArray[np.float64]:
    own = values[candidates]
    return np.asarray((values - own.mean()) / max(float(own.std()), 1e-9))
