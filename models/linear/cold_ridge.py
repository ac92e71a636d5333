"""What content says of titles: all there is to say of new ones, and a word in what few people's likes have taught.

A kernel ridge from the content of titles that somebody liked to what was learnt of them. A title that one person liked
is known by that person's taste alone; the ridge, which has all titles, corrects what chance made of so few likes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lake.arrays import Floats
from models.linear.content_kernel import Features, noise_of_counts, select
from models.linear.leave_one_out import LeaveOneOut, fit_leave_one_out
from models.linear.likes import most_liked
from models.recommender import Positions

# The kernel and its noise; a title of mean popularity has NOISE, where the kernel of a title with itself is 1, and the
# less popular a title, the noisier. Two titles are some sqrt(2) apart.
NOISE = 0.15
NOISE_POWER = 0.25
LENGTH_SCALE = 1.4
_LEAST = 1e-12  # of a length that is divided by
_MOST_SLOPE = 2.0  # of what was learnt over what content says


@dataclass(frozen=True)
class ColdRidge:
    """How content is turned into vectors; see `conf.settings.ColdStart`."""

    max_titles: int
    noise: float
    noise_power: float
    length_scale: float
    scale: float
    length_power: float = 0.0
    prior_likes: float = 0.0
    alone_share: float = 0.0


def fit(
    learnt: Floats, counts: NDArray[np.int64], rows: Features, ridge: ColdRidge, max_titles: int | None = None
) -> tuple[Positions, LeaveOneOut]:
    """The titles that the ridge goes by, and the ridge to what was `learnt` [titles, width] of them.

    `counts` [titles] are likes in training, `rows` features of all titles. Of more liked titles than `max_titles` or
    the ridge's own limit the most liked are used: memory grows with their square, time with their cube.
    """
    most = ridge.max_titles if max_titles is None else min(max_titles, ridge.max_titles)
    known = most_liked(counts, most)
    noise = noise_of_counts(counts[known], ridge.noise, ridge.noise_power)
    targets = learnt[known].astype(np.float64)
    return known, fit_leave_one_out(select(rows, known), targets, noise, ridge.length_scale, ridge.alone_share)


def predict_new(fitted: LeaveOneOut, rows: Features) -> NDArray[np.float64]:
    """[rows, width]: what content says of titles that nobody liked, as far as it is believed."""
    found = fitted.predict_new(rows)
    return believed(fitted, found) if len(fitted.targets) > 1 else found


def believed(fitted: LeaveOneOut, said: NDArray[np.float64]) -> NDArray[np.float64]:
    """[titles, width]: what content `said` of titles as if nobody had liked them, each column as far as it can tell.

    How far that is, known titles say, two at least: by the least-squares slope of what was learnt of them over what the
    ridge makes of each without it. Columns that content cannot tell get their mean, which takes nothing but noise out
    of the scores of new titles.
    """
    learnt, told = fitted.targets - fitted.mean, fitted.left_out() - fitted.mean
    slopes = (learnt * told).sum(axis=0) / np.maximum((told**2).sum(axis=0), _LEAST)
    return fitted.mean + (said - fitted.mean) * np.clip(slopes, 0, _MOST_SLOPE)


def predict_liked(known: Positions, fitted: LeaveOneOut, liked: Positions, rows: Features) -> Floats:
    """[liked, width]: what content says of `liked` titles, of each as if nobody had liked it."""
    found = np.empty((len(liked), fitted.targets.shape[1]), dtype=np.float32)
    is_known = np.isin(liked, known)
    found[is_known] = fitted.left_out()[np.searchsorted(known, liked[is_known])]
    found[~is_known] = fitted.predict_new(select(rows, liked[~is_known]))
    return found


def turned(own: Floats, said: Floats, counts: NDArray[np.int64], prior_likes: float) -> Floats:
    """`own` [titles, width], learnt of `counts` [titles] likes, turned towards what content `said` [titles, width].

    Content counts as `prior_likes` likes, so the fewer a title has, the more it says: the mean of a Gaussian posterior,
    of which the ridge is the prior, with a variance of 1 / prior_likes where a like's is 1. Lengths stay: how popular a
    title is, likes say well enough, and a mean of vectors that disagree is shorter, which would hide the title.
    """
    share = (prior_likes / (counts + prior_likes))[:, None]
    mixed = (1 - share) * own + share * said
    lengths = np.linalg.norm(own, axis=1, keepdims=True)
    return np.asarray(mixed * (lengths / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), _LEAST)), np.float32)


def rescaled(vectors: Floats, scale: float, power: float) -> Floats:
    """`vectors` [titles, dims], `scale` times as long on the whole, and the more alike in length the higher `power`.

    How long a predicted vector is says how popular content promises the title to be. That nobody has liked it speaks
    against the promise, where titles have been there to be liked: at 0 it is believed, at 1 all are as long.
    """
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _LEAST)
    return np.asarray(vectors * (scale * (lengths.mean() / lengths) ** power), dtype=np.float32)
