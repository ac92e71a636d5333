"""A bundle is read as it was written, or refused: wrong checksum, missing or unlisted file, unknown schema."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from indexing.ann import pybind_search
from indexing.bundle import bundle_writer, checksums
from indexing.bundle.bundle import Bundle
from indexing.bundle.manifest import Manifest
from indexing.errors import BundleError


@pytest.fixture
def copy(small_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_bundle.folder, tmp_path / "copy"))


def sign(folder: Path) -> None:
    """Write the checksum of the manifest as it is now."""
    data = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json.sha256").write_bytes(checksums.checksum_line(data))


def test_untouched_bundle_opens(copy: Path) -> None:
    assert Bundle.open(copy).version == "20240514T000000Z-m7"


def test_manifest_checksum_is_one_that_sha256sum_reads(copy: Path) -> None:
    done = subprocess.run(["sha256sum", "-c", "manifest.json.sha256"], cwd=copy, capture_output=True, text=True)
    assert done.stdout == "manifest.json: OK\n"


def test_flipped_byte_in_any_file_is_refused(copy: Path) -> None:
    paths = [path for path in sorted(copy.rglob("*")) if path.is_file()]
    assert len(paths) == 19
    for path in paths:
        data = path.read_bytes()
        for position in {0, len(data) // 2, len(data) - 1}:
            path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
            with pytest.raises(BundleError, match=path.name if "manifest" not in path.name else "manifest"):
                Bundle.open(copy)
        path.write_bytes(data)
    Bundle.open(copy)


def test_missing_file_is_refused_by_name(copy: Path) -> None:
    (copy / "scann" / "dataset.npy").unlink()
    (copy / "vectors.npy").unlink()
    with pytest.raises(BundleError, match=r"files are missing: scann/dataset\.npy, vectors\.npy"):
        Bundle.open(copy)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.sha256"])
def test_folder_without_manifest_is_no_bundle(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"no bundle here: No such file or directory: .*{name}"):
        Bundle.open(copy)


def test_file_that_is_not_listed_is_refused(copy: Path) -> None:
    # ScaNN would unpickle it.
    (copy / "scann" / "scann_docids.pkl").write_bytes(b"")
    with pytest.raises(BundleError, match=r"files that the manifest does not name: scann/scann_docids\.pkl"):
        Bundle.open(copy)


def test_truncated_file_is_refused(copy: Path) -> None:
    data = (copy / "offers.parquet").read_bytes()
    (copy / "offers.parquet").write_bytes(data[:-1])
    with pytest.raises(BundleError, match=f"offers.parquet has {len(data) - 1} bytes, but the manifest says"):
        Bundle.open(copy)


def change_manifest(copy: Path, change: Callable[[dict], object]) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    sign(copy)


def test_unknown_schema_is_refused_by_number(copy: Path) -> None:
    change_manifest(copy, lambda manifest: manifest.update(schema_version=2, of_the_future=True))
    with pytest.raises(BundleError, match="the bundle has schema 2, but this version reads 1"):
        Bundle.open(copy)


def test_manifest_that_lacks_something_is_refused(copy: Path) -> None:
    change_manifest(copy, lambda manifest: manifest["vectors"].pop("popularity"))
    with pytest.raises(BundleError, match=r"does not fit its schema: .* vectors.popularity Field required"):
        Bundle.open(copy)


def test_rows_of_titles(small_bundle: Bundle) -> None:
    # Title 1015 left the guide: it is the first after the 300 candidates.
    row_by_id = {1000: 0, 1015: 300, 1016: 15, 999: -1, 10**12: -1}
    assert small_bundle.rows(np.array(list(row_by_id))).tolist() == list(row_by_id.values())


def test_list_longer_than_the_corpus_is_padded(small_bundle: Bundle) -> None:
    rows, scores = small_bundle.search(np.ones((2, 14), "f"), 303)
    assert rows[:, 300:].tolist() == [[-1] * 3] * 2
    assert np.isneginf(scores[:, 300:]).all()
    assert set(rows[0, :300]) == set(range(300))


def test_longer_lists_have_more_candidates_scored_exactly() -> None:
    # Tuned for lists of 100: 130 of them, and twice as many for 200.
    assert [pybind_search.reorder_for(130, count) for count in (10, 100, 101, 200)] == [130, 130, 132, 260]
    assert pybind_search.reorder_for(0, 500) == 0


def test_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fill(folder: Path) -> Manifest:
        (folder / "titles.parquet").write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        bundle_writer.write_bundle(tmp_path, "v1", fill)
    assert list(tmp_path.iterdir()) == []


def test_of_two_writers_of_a_version_the_second_fails(small_bundle: Bundle, tmp_path: Path) -> None:
    def fill(folder: Path) -> Manifest:
        # Another writer finishes first.
        shutil.copytree(small_bundle.folder, tmp_path / "v1")
        (folder / "titles.parquet").write_bytes(b"mine")
        return small_bundle.manifest

    with pytest.raises(OSError, match="not empty"):
        bundle_writer.write_bundle(tmp_path, "v1", fill)
    assert [path.name for path in tmp_path.iterdir()] == ["v1"]
    assert Bundle.open(tmp_path / "v1").count_candidates == 300
