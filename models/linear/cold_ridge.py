"""Kernel ridge from content to learned vectors: the only source for unseen titles, a prior for sparsely liked ones.

A title with one positive is known by one user's taste alone. The ridge is fitted on all titles with positives and
corrects the chance in vectors learned from few.
"""

from dataclasses import dataclass

import numpy as np

from lake.arrays import Doubles, Floats, Ids
from models.linear.content_kernel import Features, noise_of_counts, select
from models.linear.landmark_ridge import LandmarkRidge, choose_landmarks, count_landmarks, fit_landmark_ridge
from models.linear.leave_one_out import LeaveOneOut, fit_leave_one_out
from models.linear.positive_counts import most_liked

# The kernel and its noise; a title of mean popularity has NOISE, where the kernel of a title with itself is 1, and the
# less popular a title, the noisier. Two titles are some sqrt(2) apart.
NOISE = 0.15
NOISE_POWER = 0.25
LENGTH_SCALE = 1.4
_LEAST = 1e-12  # of a length that is divided by
_MAX_SLOPE = 2.0  # of learned values over the ridge's


@dataclass(frozen=True)
class ColdRidge:
    """Parameters of the ridge; see `conf.settings.ColdStart`."""

    max_titles: int
    noise: float
    noise_power: float
    length_scale: float
    scale: float
    length_power: float = 0.0
    prior_likes: float = 0.0
    alone_share: float = 0.0


Fitted = LeaveOneOut | LandmarkRidge


def fit(learned: Floats, positive_counts: Ids, rows: Features, ridge: ColdRidge) -> tuple[Ids, Fitted]:
    """Rows of the titles that the ridge is fitted on, and the ridge to their `learned` [titles, dim] vectors.

    `positive_counts` [titles] are of the training, `rows` features of all titles. All titles with positives are used,
    through landmarks where there are more than `ridge.max_titles`.
    """
    known = np.flatnonzero(positive_counts)
    count = count_landmarks(len(known), ridge.max_titles)
    if count == len(known):
        return fit_most_liked(learned, positive_counts, rows, ridge, count)
    counts = positive_counts[known]
    noise = noise_of_counts(counts, ridge.noise, ridge.noise_power)
    targets, landmarks = learned[known].astype(np.float64), choose_landmarks(counts, count)
    features = select(rows, known)
    return known, fit_landmark_ridge(features, landmarks, targets, noise, ridge.length_scale, ridge.alone_share)


def fit_most_liked(
    learned: Floats, positive_counts: Ids, rows: Features, ridge: ColdRidge, max_titles: int
) -> tuple[Ids, LeaveOneOut]:
    """As `fit`, but exact, and on the `max_titles` titles with the most positives where there are more.

    Memory grows with their square, time with their cube.
    """
    known = most_liked(positive_counts, max_titles)
    noise = noise_of_counts(positive_counts[known], ridge.noise, ridge.noise_power)
    targets = learned[known].astype(np.float64)
    return known, fit_leave_one_out(select(rows, known), targets, noise, ridge.length_scale, ridge.alone_share)


def predict_new(fitted: Fitted, rows: Features) -> Doubles:
    """[rows, dim]: vectors of titles without positives, shrunk by slope where two or more titles are known."""
    predicted = fitted.predict_new(rows)
    return shrink_by_slope(fitted, predicted) if len(fitted.targets) > 1 else predicted


def shrink_by_slope(fitted: Fitted, predicted: Doubles) -> Doubles:
    """`predicted` [titles, dim] with each dimension shrunk towards its mean, as far as content fails to predict it.

    The factor is the least-squares slope of the known titles' learned values over their leave-one-out predictions; two
    titles at least. A dimension that content cannot predict becomes its mean, which removes nothing but noise from the
    scores of new titles.
    """
    learned, left_out = fitted.targets - fitted.mean, fitted.left_out() - fitted.mean
    slopes = (learned * left_out).sum(axis=0) / np.maximum((left_out**2).sum(axis=0), _LEAST)
    return fitted.mean + (predicted - fitted.mean) * np.clip(slopes, 0, _MAX_SLOPE)


def predict_liked(known: Ids, fitted: Fitted, liked: Ids, rows: Features) -> Floats:
    """[liked, dim]: predictions for the titles at rows `liked`, each as if it had no positives."""
    predicted = np.empty((len(liked), fitted.targets.shape[1]), dtype=np.float32)
    is_known = np.isin(liked, known)
    predicted[is_known] = fitted.left_out()[np.searchsorted(known, liked[is_known])]
    predicted[~is_known] = fitted.predict_new(select(rows, liked[~is_known]))
    return predicted


def blend_with_prior(learned: Floats, predicted: Floats, positive_counts: Ids, prior_likes: float) -> Floats:
    """`learned` [titles, dim], from `positive_counts` [titles], blended with the ridge's `predicted` [titles, dim].

    The prediction counts as `prior_likes` positives: the mean of a Gaussian posterior whose prior is the ridge, with a
    variance of 1 / prior_likes where a positive's is 1. Lengths stay those of `learned`, since positives tell a title's
    popularity well enough, and a mean of vectors that disagree is shorter and would hide the title.
    """
    share = (prior_likes / (positive_counts + prior_likes))[:, None]
    mixed = (1 - share) * learned + share * predicted
    lengths = np.linalg.norm(learned, axis=1, keepdims=True)
    return np.asarray(mixed * (lengths / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), _LEAST)), np.float32)


def rescaled(vectors: Floats, scale: float, power: float) -> Floats:
    """`vectors` [titles, dim] times `scale`, with lengths drawn to their mean by `power`.

    The length of a predicted vector is the popularity predicted from content. A title that has been available without
    positives is less popular than that: power 0 keeps the lengths, 1 makes all of them equal.
    """
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _LEAST)
    return np.asarray(vectors * (scale * (lengths.mean() / lengths) ** power), dtype=np.float32)
