"""Measure how well a new title's metadata predicts its vector, and list the missing fields that would help most.

Reads title_features, vocabularies, training_examples and stg_titles in <lake.root>, at their newest versions, and a
registered model in MLflow; writes work_list.csv and fields.csv to the folder --out.

The formulas are in models/studies/content_evidence.py. In short: known titles are predicted as if they were new, from
all others by some of their fields. Readiness is the correlation over users between predicted and learnt scores,
averaged over known titles that are like the new one and have its fields. The gain of a missing field is the improvement
for known titles that have it; titles with the greatest gain come first in the work list. `move_plot` is how far the
title's vector moves without its plot.

The quality of readiness itself is measured over known titles, each left out. A field that only known titles have says
more about popularity than about the title; models.ablation measures this.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from rich.table import Table as RichTable

from conf import command_line
from conf.settings import Settings
from lake.snapshot import LakeSnapshot
from lake.title_names import TitleNames
from models.blend.two_tower import TwoTower
from models.data.catalogue import Catalogue, read_catalogue
from models.data.model_tables import EVALUATION_TABLES
from models.data.positives import read_positives
from models.data.title_names import read_names
from models.errors import ModelError
from models.evaluation import comparison
from models.studies.content_evidence import Evidence, Fields, Readiness, check, gather_evidence, judge
from models.tracking import registry


def field_losses(evidence: Evidence, settings: Settings) -> pd.DataFrame:
    """One row per field: the loss of agreement without it, over the titles that have it, with an interval."""
    options = settings.evaluation
    whole = evidence.agreement(evidence.fields)
    rows = []
    for field in sorted(evidence.fields):
        has_field = evidence.has[field]
        if not has_field.any():
            continue
        without = evidence.agreement(evidence.fields - {field})[has_field]
        lost = comparison.compare_paired(
            whole[has_field], without, options.resamples, comparison.CONFIDENCE, settings.seed
        )
        rows.append(
            {
                "field": field,
                "known_titles_with_it": int(has_field.sum()),
                "agreement": float(whole[has_field].mean()),
                "agreement_without": float(without.mean()),
                "loss": lost.mean,
                "loss_low": lost.low,
                "loss_high": lost.high,
            }
        )
    return pd.DataFrame(rows)


def work_list(titles: Sequence[Readiness], catalogue: Catalogue, names: TitleNames, fields: Fields) -> pd.DataFrame:
    """One row per title: by greatest gain of a field first, then by least readiness."""
    rows = []
    for title in titles:
        day = catalogue.release_days[title.row]
        rows.append(
            {
                "title_id": int(catalogue.title_ids[title.row]),
                "title": names.label(title.row),
                "release_date": "" if np.isnan(day) else str(np.datetime64(int(day), "D")),
                "readiness": title.readiness,
                "best_field": title.best_field,
                "best_gain": title.gains.get(title.best_field, 0.0),
                "missing": " ".join(sorted(title.gains)),
                **{f"gain_{field}": title.gains.get(field, np.nan) for field in sorted(fields)},
                **{f"move_{field}": title.moves.get(field, np.nan) for field in sorted(fields)},
            }
        )
    return pd.DataFrame(rows).sort_values(["best_gain", "readiness", "title_id"], ascending=[False, True, True])


def print_losses(losses: pd.DataFrame) -> None:
    """A line per field."""
    shown = RichTable(title="correlation of predicted and learnt scores of known titles, with and without a field")
    for name in ("field", "known titles with it", "with all fields", "without it", "loss"):
        shown.add_column(name, justify="left" if name == "field" else "right")
    for row in losses.sort_values("loss", ascending=False).to_dict("records"):
        loss = f"{row['loss']:.3f} ({row['loss_low']:.3f} to {row['loss_high']:.3f})"
        agreements = (f"{row['agreement']:.3f}", f"{row['agreement_without']:.3f}")
        shown.add_row(row["field"], f"{row['known_titles_with_it']:,}", *agreements, loss)
    command_line.console().print(shown)


def print_work(work: pd.DataFrame, count: int) -> None:
    """The first lines of the work list."""
    shown = RichTable(title=f"the first {min(count, len(work)):,} of {len(work):,} new titles of the work list")
    for name in ("title", "released", "readiness", "missing", "would help most"):
        shown.add_column(name, justify="right" if name == "readiness" else "left")
    for row in work.head(count).to_dict("records"):
        best = f"{row['best_field']} {row['best_gain']:+.3f}" if row["best_field"] else ""
        shown.add_row(row["title"], row["release_date"], f"{row['readiness']:.3f}", row["missing"], best)
    command_line.console().print(shown)


def work(settings: Settings, arguments: Namespace) -> None:
    snapshot = LakeSnapshot.pin(settings.lake.root, (*EVALUATION_TABLES, "stg_titles"))
    catalogue = read_catalogue(snapshot, settings.content.blocks)
    train = read_positives(snapshot, "train", catalogue)
    model = TwoTower.load(registry.fetch(settings, arguments.model).folder)
    counts = np.bincount(train.liked.indices, minlength=len(catalogue))
    new = np.flatnonzero(catalogue.is_listed & (counts == 0))
    if not len(new):
        raise ModelError(f"{settings.lake.root}: every title has likes in training, so none is new")
    evidence, rows, content = gather_evidence(model, catalogue, train, settings.seed)
    losses = field_losses(evidence, settings)
    print_losses(losses)
    ranks, explained = check(evidence)
    print(
        f"readiness of known titles, each left out, against agreement: rank correlation {ranks:.2f}, R² {explained:.2f}"
    )
    names = read_names(snapshot, catalogue, counts)
    listed = work_list(judge(evidence, rows, content, new), catalogue, names, evidence.fields)
    print_work(listed, arguments.count)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        losses.to_csv(arguments.out / "fields.csv", index=False)
        listed.to_csv(arguments.out / "work_list.csv", index=False)


def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.parser(__doc__)
    parser.add_argument("--model", default=registry.CHALLENGER, metavar="NAME", help="champion, challenger, a version")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write both tables there")
    parser.add_argument("--count", type=int, default=20, metavar="N", help="titles to show; default: 20")
    return command_line.run(parser, work, argv, (MlflowException,))


if __name__ == "__main__":
    sys.exit(main())
