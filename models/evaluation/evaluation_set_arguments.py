"""Command-line arguments that name an evaluation set, shared by the commands that measure models."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from lake.snapshot import LakeSnapshot
from models.data.catalogue import Catalogue
from models.data.positives import Positives
from models.evaluation import evaluation_set
from models.evaluation.evaluation_set import EvaluationSet


def add_evaluation_arguments(parser: ArgumentParser) -> None:
    """Add --split, for a split of the lake, and --truth, --candidates and --ignored, for files."""
    parser.add_argument("--split", choices=["validation", "test"], default="validation", help="default: validation")
    parser.add_argument("--truth", type=Path, metavar="CSV", help="user_id, title_id: held-out positives")
    parser.add_argument("--candidates", type=Path, metavar="CSV", help="title_id: what may be recommended")
    parser.add_argument("--ignored", type=Path, metavar="CSV", help="user_id, title_id: pairs that count neither way")


def read_evaluation_set(
    snapshot: LakeSnapshot, arguments: Namespace, train: Positives, catalogue: Catalogue
) -> EvaluationSet:
    """The evaluation set that the arguments name. Raises ModelError as `of_split` and `of_files` do."""
    if arguments.truth:
        return evaluation_set.of_files(
            arguments.truth, arguments.candidates, arguments.ignored, snapshot, train, catalogue
        )
    return evaluation_set.of_split(snapshot, arguments.split, catalogue)
