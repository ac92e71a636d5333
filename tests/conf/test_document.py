"""docs/configuration.md agrees with the typed settings and the default files."""

import pytest

from conf import document
from conf.settings import Settings

SETTINGS = dict(document.leaves(Settings.model_fields))


def test_the_file_is_what_the_command_writes() -> None:
    on_disk = document.FILE.read_text(encoding="utf-8")
    assert on_disk == document.render(), "run python -m conf.document"


def test_every_setting_is_described_in_one_line() -> None:
    assert not [key for key, field in SETTINGS.items() if not field.description or "\n" in field.description]


@pytest.mark.parametrize(
    "row",
    [
        "| `seed` | integer, ≥ 0, < 4294967296 | `20240501` |",
        "| `lake.root` | folder or URI | `data/lake` |",
        "| `mlflow.artifacts_root` | folder or URI, or null | `data/mlartifacts` |",
        "| `staging.max_rejected_share` | number, ≥ 0, ≤ 1 | `0.05` |",
        "| `evaluation.k` | list of integer, ≥ 1 | `[20, 100]` |",
        "| `examples.split` | `by_date` or `last_share` or `none` | `by_date` |",
        "| `index.dial_settings` | map to number | `{popular: 0.5, balanced: 0.0, discover: -0.25, gems: -0.5}` |",
        "| `simulate.first_day` | date | `2024-05-01` |",
        "| `gate.max_unmet_share` | is now `gate.max_unseen_share` |",
    ],
)
def test_rows_hold_key_type_and_default(row: str) -> None:
    assert sum(line.startswith(row) for line in document.render().splitlines()) == 1
