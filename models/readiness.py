"""How far a new title's metadata can be trusted to place it, and which missing field would help most.

Reads title_features, vocabularies, training_examples and stg_titles in <lake.root>, at their newest versions, and a
registered model in MLflow; writes work_list.csv and fields.csv to the folder --out.

What is right is learnt from known titles, each as if it were new: its vector is predicted from all others (see
models/leave_one_out.py), from only those fields of its own that are looked at. With a(w, F) the correlation, over
people, of the scores that title w gets by its vector predicted from fields F and by the vector that was learnt from
likes, 1 where content says all and 0 where it says nothing,

    readiness(t) = Σ_w K(t, w) · a(w, F_t) / Σ_w K(t, w)

over the known titles w that have all fields F_t that title t has, K being the model's own kernel between the content of
t and w: how well fields like these place titles like this one. What a missing field f would add is the same mean of
a(w, F_t + f) - a(w, F_t), over the known titles that have f, too; titles that it would help most come first in the work
list. What a field f of F_t weighs is how far the title's own vector moves without it: 1 less the correlation of its
scores with and without.

A field that only known titles have, as themes may be, says more of popularity than of the title: models.ablation shows.
"""

import sys
from argparse import Namespace
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from rich.table import Table as RichTable

from conf import command_line
from conf.settings import Settings
from models import comparison, lake, leave_one_out, metadata_fields, registry
from models.baselines.content_kernel import Features, features, gaussian_kernel, select
from models.content import Content
from models.errors import ModelError
from models.histories import pad_newest_first
from models.lake import Catalogue, Positives
from models.leave_one_out import LeaveOneOut
from models.title_names import TitleNames, read_names
from models.two_tower import CatalogueModel, TwoTower

Floats = NDArray[np.float64]
Fields = frozenset[str]
_MAX_PEOPLE = 2000  # whose scores are compared


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


class Evidence:
    """What known titles say of fields: a(w, F) for any F, kept once computed."""

    def __init__(self, fitted: LeaveOneOut, content: Content, known: NDArray[np.int64], metric: Floats) -> None:
        """`content` is of all titles, `known` [known titles] are positions; vectors times `metric` give scores."""
        self._fitted = fitted
        self._content = content
        self._metric = metric  # [width, people]
        self._learnt = self._scores(fitted.targets)
        self._found: dict[Fields, Floats] = {}
        self.has = {field: own[known] for field, own in metadata_fields.presence(content).items()}
        self.count = len(known)

    @property
    def fields(self) -> Fields:
        return frozenset(self.has)

    def agreement(self, fields: Collection[str]) -> Floats:
        """[known titles]: a(w, `fields`), of titles that lack some of them by what they have."""
        wanted = frozenset(fields)
        if wanted not in self._found:
            rows = metadata_fields.leave_out(self._fitted.known, self._content, self.fields - wanted)
            self._found[wanted] = _products(self._scores(self._fitted.predict(rows)), self._learnt)
        return self._found[wanted]

    def who_have(self, fields: Collection[str]) -> NDArray[np.bool_]:
        """[known titles]: whether they have all of `fields`."""
        return np.all([self.has[field] for field in fields], axis=0) if fields else np.ones(self.count, np.bool_)

    def moved(self, rows: Features, field: str) -> Floats:
        """[rows]: 1 less the correlation of the scores of new titles, whose features are `rows`, without `field`."""
        whole = self._scores(self._fitted.predict_new(rows))
        without = self._fitted.predict_new(metadata_fields.leave_out(rows, self._content, [field]))
        return 1 - _products(whole, self._scores(without))

    def kernel(self, rows: Features) -> Floats:
        """[rows, known titles]: K."""
        return gaussian_kernel(rows, self._fitted.known, self._fitted.length_scale)

    def _scores(self, vectors: Floats) -> Floats:
        """[rows, people], each row of mean 0 and length 1."""
        scores = vectors @ self._metric
        scores -= scores.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(scores, axis=1, keepdims=True)
        return np.divide(scores, lengths, out=np.zeros_like(scores), where=lengths > 0)


def gather_evidence(
    model: TwoTower, catalogue: Catalogue, train: Positives, max_titles: int, seed: int
) -> tuple[Evidence, Features, Content]:
    """What the known titles of a model say, with features of all titles and the content that these are of.

    Raises ModelError for fewer than two known titles.
    """
    content = catalogue.content.only(model.card.content_blocks)
    rows, bound = features(content), CatalogueModel(model, catalogue)
    counts = np.bincount(train.liked.indices, minlength=len(catalogue))
    if np.count_nonzero(counts) < 2:
        raise ModelError(f"{np.count_nonzero(counts)} titles have likes; two at least must tell how another is placed")
    vectors = bound.vectors.astype(np.float64)
    known, fitted = leave_one_out.of_model(vectors, counts, rows, model.card.cold, max_titles)
    count = train.liked.shape[0]
    people = np.sort(np.random.default_rng(seed).choice(count, min(count, _MAX_PEOPLE), replace=False))
    queries = bound.queries(pad_newest_first(train.liked[people], None, None, model.history_length))
    return Evidence(fitted, content, known, queries.T.astype(np.float64)), rows, content


def judge(evidence: Evidence, rows: Features, content: Content, titles: NDArray[np.int64]) -> list[Readiness]:
    """Readiness of new `titles`, positions in the catalogue whose `rows` are features of its `content`."""
    own = select(rows, titles)
    kernel = evidence.kernel(own)
    has = {field: values[titles] for field, values in metadata_fields.presence(content).items()}
    moves = {field: evidence.moved(own, field) for field in has}
    found = []
    for n, position in enumerate(titles.tolist()):
        fields = frozenset(field for field, values in has.items() if values[n])
        gains = {}
        for field in sorted(evidence.fields - fields):
            added = evidence.agreement(fields | {field}) - evidence.agreement(fields)
            gains[field] = _mean(added, kernel[n] * evidence.who_have(fields | {field}))
        readiness = _mean(evidence.agreement(fields), kernel[n] * evidence.who_have(fields))
        own_moves = {field: float(moves[field][n]) for field in sorted(fields)}
        found.append(Readiness(position, fields, readiness, gains, own_moves))
    return found


def field_losses(evidence: Evidence, settings: Settings) -> pd.DataFrame:
    """A row per field: how much agreement titles that have it lose without it, with an interval over these titles."""
    options = settings.evaluation
    whole = evidence.agreement(evidence.fields)
    rows = []
    for field in sorted(evidence.fields):
        own = evidence.has[field]
        if not own.any():
            continue
        without = evidence.agreement(evidence.fields - {field})[own]
        lost = comparison.compare_paired(whole[own], without, options.resamples, options.confidence, settings.seed)
        rows.append(
            {
                "field": field,
                "known_titles_with_it": int(own.sum()),
                "agreement": float(whole[own].mean()),
                "agreement_without": float(without.mean()),
                "loss": lost.mean,
                "loss_low": lost.low,
                "loss_high": lost.high,
            }
        )
    return pd.DataFrame(rows)


def work_list(found: Sequence[Readiness], catalogue: Catalogue, names: TitleNames, fields: Fields) -> pd.DataFrame:
    """A row per title: what a field would help most first, then what is least ready."""
    rows = []
    for own in found:
        day = catalogue.release_days[own.position]
        rows.append(
            {
                "title_id": int(catalogue.title_ids[own.position]),
                "title": names.label(own.position),
                "release_date": "" if np.isnan(day) else str(np.datetime64(int(day), "D")),
                "readiness": own.readiness,
                "best_field": own.best_field,
                "best_gain": own.gains.get(own.best_field, 0.0),
                "missing": " ".join(sorted(own.gains)),
                **{f"gain_{field}": own.gains.get(field, np.nan) for field in sorted(fields)},
                **{f"move_{field}": own.moves.get(field, np.nan) for field in sorted(fields)},
            }
        )
    return pd.DataFrame(rows).sort_values(["best_gain", "readiness", "title_id"], ascending=[False, True, True])


def print_losses(losses: pd.DataFrame) -> None:
    """A line per field."""
    shown = RichTable(title="what known titles would lose, had they been new, without a field: correlation of scores")
    for name in ("field", "known titles with it", "with all they have", "without it", "loss"):
        shown.add_column(name, justify="left" if name == "field" else "right")
    for row in losses.sort_values("loss", ascending=False).to_dict("records"):
        loss = f"{row['loss']:.3f} ({row['loss_low']:.3f} to {row['loss_high']:.3f})"
        agreements = (f"{row['agreement']:.3f}", f"{row['agreement_without']:.3f}")
        shown.add_row(row["field"], f"{row['known_titles_with_it']:,}", *agreements, loss)
    command_line.console().print(shown)


def print_work(work: pd.DataFrame, count: int) -> None:
    """The first lines of the work list."""
    shown = RichTable(title=f"the first {min(count, len(work)):,} of {len(work):,} new titles to work on")
    for name in ("title", "released", "readiness", "missing", "would help most"):
        shown.add_column(name, justify="right" if name == "readiness" else "left")
    for row in work.head(count).to_dict("records"):
        best = f"{row['best_field']} {row['best_gain']:+.3f}" if row["best_field"] else ""
        shown.add_row(row["title"], row["release_date"], f"{row['readiness']:.3f}", row["missing"], best)
    command_line.console().print(shown)


def work(settings: Settings, arguments: Namespace) -> None:
    versions = lake.pin(settings.lake.root)
    catalogue = lake.read_catalogue(settings.lake.root, versions, settings.content.blocks)
    train = lake.read_positives(settings.lake.root, versions, "train", catalogue)
    model = TwoTower.load(registry.fetch(settings, arguments.model).folder)
    counts = np.bincount(train.liked.indices, minlength=len(catalogue))
    new = np.flatnonzero(catalogue.is_listed & (counts == 0))
    if not len(new):
        raise ModelError(f"{settings.lake.root}: somebody liked every title in training, so none is new")
    evidence, rows, content = gather_evidence(model, catalogue, train, arguments.max_titles, settings.seed)
    losses = field_losses(evidence, settings)
    print_losses(losses)
    names = read_names(settings.lake.root, catalogue, counts)
    listed = work_list(judge(evidence, rows, content, new), catalogue, names, evidence.fields)
    print_work(listed, arguments.count)
    arguments.out.mkdir(parents=True, exist_ok=True)
    losses.to_csv(arguments.out / "fields.csv", index=False)
    listed.to_csv(arguments.out / "work_list.csv", index=False)


def _mean(values: Floats, weights: Floats) -> float:
    """NaN where nothing weighs anything."""
    total = float(weights.sum())
    return float(values @ weights / total) if total > 0 else float("nan")


def _products(left: Floats, right: Floats) -> Floats:
    """[rows]: the inner product of each row with the same row of the other."""
    return np.einsum("rp,rp->r", left, right)


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--model", default=registry.CHALLENGER, metavar="NAME", help="champion, challenger, a version")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where both tables go")
    parser.add_argument("--count", type=int, default=20, metavar="N", help="titles to show; default: 20")
    parser.add_argument(
        "--max-titles", type=int, default=5000, metavar="N", help="known titles to learn from, the most liked; 5000"
    )
    return command_line.run(parser, work, argv, (ModelError, MlflowException))


if __name__ == "__main__":
    sys.exit(main())
