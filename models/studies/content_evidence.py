"""Content evidence: how well metadata fields predict the vectors of known titles, and so those of new ones.

Each known title is treated as if it were new: its vector is predicted from all others by some of its fields (see
models/linear/leave_one_out.py). With a(w, F) the correlation, over users, of the scores of title w by its vector
predicted from fields F and by its learnt vector,

    readiness(t) = Σ_w W(t, w) · a(w, F_t) / Σ_w W(t, w)
    W(t, w) = K(t, w) ^ KERNEL_POWER · exp(-½ (ln s_t - ln s_w)² / SPREAD_WIDTH²)

over the known titles w that have all fields F_t of title t. K is the model's own kernel over these fields, and s the
deviation over users of the predicted scores. The gain of a missing field f is the same mean of a(w, F_t + f) - a(w,
F_t), over the known titles that also have f. The move of a field f of F_t is 1 less the correlation of the title's
scores with and without it.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from lake.arrays import Doubles
from models.blend.two_tower import CatalogueModel, TwoTower
from models.data.catalogue import Catalogue
from models.data.content import Content
from models.data.padded_histories import pad_newest_first
from models.data.positives import Positives
from models.errors import ModelError
from models.linear import cold_ridge
from models.linear.content_kernel import Features, features, gaussian_kernel, select
from models.linear.leave_one_out import LeaveOneOut
from models.studies import metadata_fields

Fields = frozenset[str]

# Most liked titles that are compared: memory grows with their square, time with their cube.
MAX_TITLES = 5000
# Users whose scores are compared: the error of a correlation over so many is about .02.
MAX_USERS = 2000
# Power of the model's kernel: the higher, the fewer titles count as alike.
KERNEL_POWER = 16.0
# How far apart, as a logarithm, the spreads of two titles' predictions may be to count as alike.
SPREAD_WIDTH = 0.1


@dataclass(frozen=True)
class Readiness:
    """Readiness of one title, by its row in the catalogue."""

    row: int
    fields: Fields  # present fields
    readiness: float  # NaN where no known title has all present fields
    gains: dict[str, float]  # by missing field; NaN where no known title has it besides
    moves: dict[str, float]  # by present field

    @property
    def best_field(self) -> str:
        """The missing field with the greatest gain; empty where no gain is positive."""
        return max((field for field, gain in self.gains.items() if gain > 0), key=self.gains.__getitem__, default="")


@dataclass(frozen=True)
class PredictedTitles:
    """Titles with their scores as predicted from some fields."""

    rows: Features  # of these fields
    scores: Doubles  # [titles, users], each row of mean 0 and length 1
    log_spreads: Doubles  # [titles], ln of the deviation of scores over users


class Evidence:
    """Predictions of known titles from sets of fields; computed once per set."""

    def __init__(
        self,
        fitted: LeaveOneOut,
        content: Content,
        known: NDArray[np.int64],
        metric: Doubles,
        kernel_power: float = KERNEL_POWER,
        spread_width: float = SPREAD_WIDTH,
    ) -> None:
        """`content` is of all titles, `known` are known rows. Vectors times `metric` [dim, users] are scores."""
        self._fitted = fitted
        self._content = content
        self._metric = metric
        self._kernel_power, self._spread_width = kernel_power, spread_width
        self._learnt, _ = self._scores(fitted.targets)
        self._predicted: dict[Fields, PredictedTitles] = {}
        self.has = {field: present[known] for field, present in metadata_fields.presence(content).items()}

    @property
    def fields(self) -> Fields:
        return frozenset(self.has)

    def known(self, fields: Collection[str]) -> PredictedTitles:
        """The known titles, each predicted from all others by those of `fields` that it has."""
        field_set = frozenset(fields)
        if field_set not in self._predicted:
            rows = metadata_fields.leave_out(self._fitted.known, self._content, self.fields - field_set)
            self._predicted[field_set] = PredictedTitles(rows, *self._scores(self._fitted.predict(rows)))
        return self._predicted[field_set]

    def new(self, rows: Features, without: Collection[str] = ()) -> PredictedTitles:
        """New titles with features `rows`, as if they lacked the fields `without`."""
        kept = metadata_fields.leave_out(rows, self._content, without)
        return PredictedTitles(kept, *self._scores(self._fitted.predict_new(kept)))

    def agreement(self, fields: Collection[str]) -> Doubles:
        """[known titles]: a(w, `fields`)."""
        return _products(self.known(fields).scores, self._learnt)

    def weights(self, titles: PredictedTitles, fields: Collection[str]) -> Doubles:
        """[titles, known titles]: W for titles that have `fields` and no others."""
        known = self.known(fields)
        kernel = gaussian_kernel(titles.rows, known.rows, self._fitted.length_scale)
        differences = (titles.log_spreads[:, None] - known.log_spreads) / self._spread_width
        return kernel**self._kernel_power * np.exp(-0.5 * differences**2) * self.having(fields)

    def having(self, fields: Collection[str]) -> NDArray[np.bool_]:
        """[known titles]: True for titles that have all of `fields`."""
        all_titles = np.ones(self._learnt.shape[0], dtype=np.bool_)
        return np.logical_and.reduce([self.has[field] for field in fields], initial=True) & all_titles

    def _scores(self, vectors: Doubles) -> tuple[Doubles, Doubles]:
        scores = vectors @ self._metric
        scores -= scores.mean(axis=1, keepdims=True)
        lengths = np.maximum(np.linalg.norm(scores, axis=1), 1e-12)
        return scores / lengths[:, None], np.log(lengths / np.sqrt(scores.shape[1]))


def gather_evidence(
    model: TwoTower, catalogue: Catalogue, train: Positives, seed: int
) -> tuple[Evidence, Features, Content]:
    """The evidence of a model's known titles, the features of all titles, and the content that these are of.

    Raises ModelError for fewer than two known titles.
    """
    content = catalogue.content.only(model.card.content_blocks)
    rows, bound = features(content), CatalogueModel(model, catalogue)
    counts = np.bincount(train.liked.indices, minlength=len(catalogue))
    if np.count_nonzero(counts) < 2:
        raise ModelError(f"{np.count_nonzero(counts)} titles have likes; at least two are needed to predict others")
    known, fitted = cold_ridge.fit_most_liked(
        model.learnt_vectors(catalogue), counts, rows, model.card.cold, MAX_TITLES
    )
    count = train.liked.shape[0]
    users = np.sort(np.random.default_rng(seed).choice(count, min(count, MAX_USERS), replace=False))
    queries = bound.queries(pad_newest_first(train.liked[users], None, None, model.history_length))
    return Evidence(fitted, content, known, queries.T.astype(np.float64)), rows, content


def judge(evidence: Evidence, rows: Features, content: Content, titles: NDArray[np.int64]) -> list[Readiness]:
    """Readiness of new `titles`, rows of the catalogue; `rows` are the features of its `content`."""
    has = {field: values[titles] for field, values in metadata_fields.presence(content).items()}
    patterns = [frozenset(field for field, values in has.items() if values[n]) for n in range(len(titles))]
    by_row: dict[int, Readiness] = {}
    for fields in dict.fromkeys(patterns):
        alike = titles[[n for n, pattern in enumerate(patterns) if pattern == fields]]
        by_row |= {title.row: title for title in _judge_alike(evidence, select(rows, alike), alike, fields)}
    return [by_row[row] for row in titles.tolist()]


def _judge_alike(evidence: Evidence, rows: Features, titles: NDArray[np.int64], fields: Fields) -> list[Readiness]:
    """Readiness of titles that all have the same `fields`."""
    whole = evidence.new(rows)
    weights = evidence.weights(whole, fields)
    agreement = evidence.agreement(fields)
    readiness = _means(agreement, weights)
    gains = {}
    for field in sorted(evidence.fields - fields):
        added = evidence.agreement(fields | {field}) - agreement
        gains[field] = _means(added, weights * evidence.has[field])
    moves = {field: 1 - _products(whole.scores, evidence.new(rows, [field]).scores) for field in sorted(fields)}
    return [
        Readiness(
            row,
            fields,
            float(readiness[n]),
            {field: float(values[n]) for field, values in gains.items()},
            {field: float(values[n]) for field, values in moves.items()},
        )
        for n, row in enumerate(titles.tolist())
    ]


def check(evidence: Evidence) -> tuple[float, float]:
    """Rank correlation and R² of readiness with agreement, over known titles that have all fields, each left out.

    NaN where fewer than three titles have all fields.
    """
    whole = evidence.known(evidence.fields)
    is_whole = evidence.having(evidence.fields)
    if is_whole.sum() < 3:
        return float("nan"), float("nan")
    weights = evidence.weights(whole, evidence.fields)
    np.fill_diagonal(weights, 0)
    agreement = evidence.agreement(evidence.fields)
    predicted, actual = _means(agreement, weights)[is_whole], agreement[is_whole]
    explained = 1 - np.mean((predicted - actual) ** 2) / actual.var()
    return float(spearmanr(predicted, actual).statistic), float(explained)


def _means(values: Doubles, weights: Doubles) -> Doubles:
    """[titles]: the mean of `values` [known titles] by `weights` [titles, known titles]; NaN where all are 0."""
    totals = weights.sum(axis=1)
    return np.divide(weights @ values, totals, out=np.full(len(totals), np.nan), where=totals > 0)


def _products(left: Doubles, right: Doubles) -> Doubles:
    """[rows]: the inner product of each row with the same row of the other."""
    return np.einsum("rp,rp->r", left, right)
