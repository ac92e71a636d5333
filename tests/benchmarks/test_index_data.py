"""The enlarged catalogue of the index benchmark: what was made of one bundle is never asked by another."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import index_data
from conf.loader import load_settings
from jobs.errors import JobError


def test_a_folder_of_another_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "about.json").write_text(json.dumps({"bundle": "b1"}))
    own: Any = SimpleNamespace(version="b1")
    assert index_data.prepare(tmp_path, own, load_settings(), 10, 2).folder == tmp_path
    other: Any = SimpleNamespace(version="b2")
    with pytest.raises(JobError, match=r"was made of bundle b1, not b2; give another --work"):
        index_data.prepare(tmp_path, other, load_settings(), 10, 2)
