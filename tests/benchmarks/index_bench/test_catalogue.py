"""The catalogue of the index benchmark: one made from a bundle is never used with another."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.index_bench import catalogue
from conf.loader import load_settings
from jobs.errors import JobError


def test_a_folder_of_another_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "about.json").write_text(json.dumps({"bundle": "b1"}))
    source: Any = SimpleNamespace(version="b1")
    assert catalogue.prepare(tmp_path, source, load_settings(), 10, 2).folder == tmp_path
    other: Any = SimpleNamespace(version="b2")
    with pytest.raises(JobError, match=r"was made of bundle b1, not b2; give another --work"):
        catalogue.prepare(tmp_path, other, load_settings(), 10, 2)
