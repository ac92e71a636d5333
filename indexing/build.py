"""Build a bundle: one folder with everything that serving needs of a model and today's catalogue.

Reads the registered model that --model names, in MLflow, and title_features, vocabularies, stg_titles, stg_offers and
user_histories in <lake.root>, at their newest versions; writes <bundles.root>/<version>, whole or not at all. New and
unreleased titles are included. A bundle is not live before indexing.publish.

Settings of the dial are those that models.evaluate_night or models.dial stored with the model, or index.dial_settings
where there are none.

Exit code 1, and no bundle, where recall against exact search is below index.min_recall_at_10 or
index.min_recall_at_100 at any setting of the dial, where the two searchers overlap by less than index.min_overlap, or
where golden users do not get the training graph's lists and scores (index.min_overlap, and 0.001 standard deviations).
"""

import json
import logging
import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from pydantic import ValidationError
from rich.table import Table as RichTable

from conf import command_line
from conf.settings import Settings
from indexing.bundle import builder, lake_inputs
from indexing.bundle.builder import BundleSpec
from indexing.bundle.bundle import Bundle
from indexing.bundle.manifest import Dial, ModelSource
from indexing.errors import BundleError
from indexing.publishing import publication
from lake.model_names import REGISTERED_MODEL
from lake.snapshot import LakeSnapshot
from models.blend.two_tower import TwoTower
from models.evaluation import dial_settings
from models.tracking import registry
from models.tracking.registry import Registered

log = logging.getLogger("marquee")


def work(settings: Settings, arguments: Namespace) -> None:
    registered = registry.fetch(settings, arguments.model)
    spec = BundleSpec(
        source=source_of(registered),
        lake=LakeSnapshot.pin(settings.lake.root, lake_inputs.TABLES),
        options=settings.index,
        dial=read_dial(Path(arguments.dial)) if arguments.dial else measured_dial(settings, arguments.model),
        as_of=arguments.ds,
        seed=settings.seed,
    )
    store = publication.store_of(settings)
    version = publication.name_version(registered.version, datetime.now(UTC))
    built = builder.build(TwoTower.load(registered.folder), spec, store.work_folder(), version)
    store.add(version)
    print_built(built)
    print(f"built {version} in {store.location}")


def source_of(registered: Registered) -> ModelSource:
    return ModelSource(
        name=REGISTERED_MODEL,
        version=registered.version,
        run_id=registered.run_id,
        delta_versions=dict(registered.delta_versions),
    )


def read_dial(path: Path) -> Dial:
    """`{"minimum": …, "maximum": …, "settings": {"popular": …, …}}`, in units of the model's scores.

    Raises BundleError for a file of another form.
    """
    return _parsed(path.read_text(encoding="utf-8"), f"--dial {path}", f"chosen: {path.name}")


def measured_dial(settings: Settings, model: str) -> Dial | None:
    """Settings of the dial that were measured for a registered model; None where there are none."""
    text = registry.kept_text(settings, model, dial_settings.FILE)
    return None if text is None else _parsed(text, f"{dial_settings.FILE} in the run of {model}", "measured")


def _parsed(text: str, name: str, source: str) -> Dial:
    try:
        return Dial.model_validate({"source": source, **json.loads(text)})
    except (ValidationError, ValueError, TypeError) as error:
        raise BundleError(f"{name}: no settings of the dial: {' '.join(str(error).split())}") from error


def print_built(built: Bundle) -> None:
    """Print the measurements: a line per form and setting of the dial."""
    forms, counts = built.manifest.forms, built.manifest.counts
    shown = RichTable(title=f"{counts.candidates:,} candidates, {built.manifest.index.kind}; {forms.queries_source}")
    for column in ("form", "dial", "recall@10", "recall@100", "p50 ms", "p99 ms", "leaves", "reordered"):
        shown.add_column(column, justify="left" if column in ("form", "dial") else "right")
    for name, form in (("pybind", forms.pybind), ("TensorFlow", forms.tensorflow)):
        for setting, recall in form.recall.items():
            figures = (f"{recall.at_10:.4f}", f"{recall.at_100:.4f}", f"{form.p50_ms:.3f}", f"{form.p99_ms:.3f}")
            shown.add_row(name, setting, *figures, str(form.leaves_to_search), str(form.reorder))
    command_line.console().print(shown)


def main(argv: Sequence[str] | None = None) -> int:
    command = command_line.parser(__doc__)
    command.add_argument(
        "--model", default=registry.CHAMPION, help="champion, challenger or a version; champion by default"
    )
    command.add_argument(
        "--dial",
        metavar="FILE",
        help="settings of the dial, as models.dial writes them; default: those stored with the model",
    )
    command.add_argument(
        "--ds",
        type=date.fromisoformat,
        metavar="DATE",
        help="day from which ages of titles count; default: the lake's newest night",
    )
    return command_line.run(command, work, argv)


if __name__ == "__main__":
    sys.exit(main())
