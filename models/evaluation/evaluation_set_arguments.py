"""What commands that measure models share: which truth they are asked about, by arguments."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path

from models.data.lake_tables import Catalogue, Positives
from models.evaluation import evaluation_set
from models.evaluation.evaluation_set import Truth


def add_arguments(parser: ArgumentParser) -> None:
    """A split of the lake, or files."""
    parser.add_argument("--split", choices=["validation", "test"], default="validation", help="default: validation")
    parser.add_argument("--truth", type=Path, metavar="CSV", help="user_id, title_id: held-out positives")
    parser.add_argument("--candidates", type=Path, metavar="CSV", help="title_id: what may be recommended")
    parser.add_argument("--ignored", type=Path, metavar="CSV", help="user_id, title_id: pairs that count neither way")


def read(root: str, versions: Mapping[str, int], arguments: Namespace, train: Positives, catalogue: Catalogue) -> Truth:
    """The truth that the arguments name; raises ModelError as `truth.of_split` and `truth.of_files` do."""
    if arguments.truth:
        return evaluation_set.of_files(
            arguments.truth, arguments.candidates, arguments.ignored, root, versions, train, catalogue
        )
    return evaluation_set.of_split(root, versions, arguments.split, catalogue)
