"""What known titles say of metadata: how well which fields place which titles, and so how well they place new ones.

What is right is learnt from known titles, each as if it were new: its vector is predicted from all others (see
models/linear/leave_one_out.py), from only those fields of its own that are looked at. With a(w, F) the correlation,
over people, of the scores that title w gets by its vector predicted from fields F and by the vector that was learnt
from likes, 1 where content says all and 0 where it says nothing,

    readiness(t) = Σ_w W(t, w) · a(w, F_t) / Σ_w W(t, w)
    W(t, w) = K(t, w) ^ kernel_power · exp(-½ (ln s_t - ln s_w)² / spread_width²)

over the known titles w that have all fields F_t that title t has: titles alike in these fields by the model's own
kernel K, whose predictions are as decided, s being the deviation of the predicted scores over people. What a missing
field f would add is the same mean of a(w, F_t + f) - a(w, F_t), over the known titles that have f, too; titles that it
would help most come first in the work list. What a field f of F_t weighs is how far the title's own vector moves
without it: 1 less the correlation of its scores with and without.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from conf.settings import Readiness as Options
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


@dataclass(frozen=True)
class Readiness:
    """One title of the work list, by its position in the catalogue."""

    position: int
    fields: Fields  # that it has
    readiness: float  # NaN where no known title has all of them
    gains: dict[str, float]  # by missing field; NaN where no known title says
    moves: dict[str, float]  # by field that it has

    @property
    def best_field(self) -> str:
        """The missing field that would help most; empty where none would."""
        return max((field for field, gain in self.gains.items() if gain > 0), key=self.gains.__getitem__, default="")


@dataclass(frozen=True)
class Predicted:
    """Titles as content predicts them from some fields."""

    rows: Features  # of these fields
    scores: Doubles  # [titles, people], each row of mean 0 and length 1
    log_spreads: Doubles  # [titles], ln of the deviation of scores over people


class Evidence:
    """What known titles say of fields; what is asked for once is kept."""

    def __init__(
        self, fitted: LeaveOneOut, content: Content, known: NDArray[np.int64], metric: Doubles, options: Options
    ) -> None:
        """`content` is of all titles, `known` [known titles] are positions; vectors times `metric` give scores."""
        self._fitted = fitted
        self._content = content
        self._metric = metric  # [width, people]
        self._options = options
        self._learnt, _ = self._scores(fitted.targets)
        self._found: dict[Fields, Predicted] = {}
        self.has = {field: own[known] for field, own in metadata_fields.presence(content).items()}

    @property
    def fields(self) -> Fields:
        return frozenset(self.has)

    def known(self, fields: Collection[str]) -> Predicted:
        """The known titles, each predicted from all others by `fields` alone, or what it has of them."""
        wanted = frozenset(fields)
        if wanted not in self._found:
            rows = metadata_fields.leave_out(self._fitted.known, self._content, self.fields - wanted)
            self._found[wanted] = Predicted(rows, *self._scores(self._fitted.predict(rows)))
        return self._found[wanted]

    def new(self, rows: Features, without: Collection[str] = ()) -> Predicted:
        """New titles whose features are `rows`, as if they lacked some fields."""
        own = metadata_fields.leave_out(rows, self._content, without)
        return Predicted(own, *self._scores(self._fitted.predict_new(own)))

    def agreement(self, fields: Collection[str]) -> Doubles:
        """[known titles]: a(w, `fields`)."""
        return _products(self.known(fields).scores, self._learnt)

    def weights(self, titles: Predicted, fields: Collection[str]) -> Doubles:
        """[titles, known titles]: W for titles that have `fields` and no others."""
        known = self.known(fields)
        kernel = gaussian_kernel(titles.rows, known.rows, self._fitted.length_scale)
        apart = (titles.log_spreads[:, None] - known.log_spreads) / self._options.spread_width
        return kernel**self._options.kernel_power * np.exp(-0.5 * apart**2) * self.who_have(fields)

    def who_have(self, fields: Collection[str]) -> NDArray[np.bool_]:
        """[known titles]: whether they have all of `fields`."""
        every = np.ones(self._learnt.shape[0], dtype=np.bool_)
        return np.logical_and.reduce([self.has[field] for field in fields], initial=True) & every

    def _scores(self, vectors: Doubles) -> tuple[Doubles, Doubles]:
        scores = vectors @ self._metric
        scores -= scores.mean(axis=1, keepdims=True)
        lengths = np.maximum(np.linalg.norm(scores, axis=1), 1e-12)
        return scores / lengths[:, None], np.log(lengths / np.sqrt(scores.shape[1]))


def gather_evidence(
    model: TwoTower, catalogue: Catalogue, train: Positives, options: Options, seed: int
) -> tuple[Evidence, Features, Content]:
    """What the known titles of a model say, with features of all titles and the content that these are of.

    Raises ModelError for fewer than two known titles.
    """
    content = catalogue.content.only(model.card.content_blocks)
    rows, bound = features(content), CatalogueModel(model, catalogue)
    counts = np.bincount(train.liked.indices, minlength=len(catalogue))
    if np.count_nonzero(counts) < 2:
        raise ModelError(f"{np.count_nonzero(counts)} titles have likes; two at least must tell how another is placed")
    known, fitted = cold_ridge.fit(model.learnt_vectors(catalogue), counts, rows, model.card.cold, options.max_titles)
    count = train.liked.shape[0]
    people = np.sort(np.random.default_rng(seed).choice(count, min(count, options.people), replace=False))
    queries = bound.queries(pad_newest_first(train.liked[people], None, None, model.history_length))
    return Evidence(fitted, content, known, queries.T.astype(np.float64), options), rows, content


def judge(evidence: Evidence, rows: Features, content: Content, titles: NDArray[np.int64]) -> list[Readiness]:
    """Readiness of new `titles`, positions in the catalogue whose `rows` are features of its `content`."""
    has = {field: values[titles] for field, values in metadata_fields.presence(content).items()}
    patterns = [frozenset(field for field, values in has.items() if values[n]) for n in range(len(titles))]
    found: dict[int, Readiness] = {}
    for fields in dict.fromkeys(patterns):
        own = titles[[n for n, pattern in enumerate(patterns) if pattern == fields]]
        found |= {one.position: one for one in _judge_alike(evidence, select(rows, own), own, fields)}
    return [found[position] for position in titles.tolist()]


def _judge_alike(evidence: Evidence, rows: Features, titles: NDArray[np.int64], fields: Fields) -> list[Readiness]:
    """Of titles that all have the same `fields`."""
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
            position,
            fields,
            float(readiness[n]),
            {field: float(values[n]) for field, values in gains.items()},
            {field: float(values[n]) for field, values in moves.items()},
        )
        for n, position in enumerate(titles.tolist())
    ]


def check(evidence: Evidence) -> tuple[float, float]:
    """How readiness goes with agreement over known titles that have all fields, each left out.

    The rank correlation, and the share of the variance that is explained; NaN where fewer than three have all.
    """
    whole = evidence.known(evidence.fields)
    is_whole = evidence.who_have(evidence.fields)
    if is_whole.sum() < 3:
        return float("nan"), float("nan")
    weights = evidence.weights(whole, evidence.fields)
    np.fill_diagonal(weights, 0)
    agreement = evidence.agreement(evidence.fields)
    found, own = _means(agreement, weights)[is_whole], agreement[is_whole]
    explained = 1 - np.mean((found - own) ** 2) / own.var()
    return float(spearmanr(found, own).statistic), float(explained)


def _means(values: Doubles, weights: Doubles) -> Doubles:
    """[titles]: the mean of `values` [known titles] by `weights` [titles, known titles]; NaN where none weighs."""
    totals = weights.sum(axis=1)
    return np.divide(weights @ values, totals, out=np.full(len(totals), np.nan), where=totals > 0)


def _products(left: Doubles, right: Doubles) -> Doubles:
    """[rows]: the inner product of each row with the same row of the other."""
    return np.einsum("rp,rp->r", left, right)
