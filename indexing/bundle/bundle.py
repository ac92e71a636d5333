"""A bundle on a local disk: its layout, how it is written and verified, and what a reader gets of it.

    manifest.json           what it is, and the checksum of every other file; indexing/bundle/manifest.py
    manifest.json.sha256    the manifest's own, as `sha256sum -c` reads it
    titles.parquet          one row per title: names, what to say about it, popularity; row n is vector n
    vectors.npy             float32 [titles, width]: popularity, freshness, embedding; indexing/bundle/coordinates.py
    balance.npz             order and factors by which the model's title vectors became the embeddings
    offers.parquet          one row per row, country, provider_id, monetization_type; candidates only
    countries.json          country code to the id that the query tower takes
    golden.npz              made-up users and the answers they must get
    scann/                  searcher over the candidates, as `scann_ops_pybind` loads it
    query_tower/            SavedModel from a history to a query, but for popularity and freshness
    retrieval/              SavedModel from a history to titles, with ScaNN's TensorFlow ops

Rows 0 to `counts.candidates` - 1 are the titles that may be recommended, in both searchers under the same number; the
rows after them left the guide and stand in histories only. A history names titles by row + 1, 0 is padding.
"""

import hashlib
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq
from pydantic import ValidationError

from indexing.bundle.manifest import SCHEMA_VERSION, FileEntry, Manifest, Vectors
from indexing.bundle.numpy_tower import NumpyTower
from indexing.errors import BundleError
from lake.arrays import Floats, Ids
from models.data.padded_histories import PaddedHistories

MANIFEST, MANIFEST_SHA = "manifest.json", "manifest.json.sha256"
TITLES, OFFERS, COUNTRIES = "titles.parquet", "offers.parquet", "countries.json"
VECTORS, BALANCE, GOLDEN = "vectors.npy", "balance.npz", "golden.npz"
SCANN, QUERY_TOWER, RETRIEVAL = "scann", "query_tower", "retrieval"
UNFINISHED = ".unfinished-"  # prefix of folders that a writer is at, or was killed at
BESIDE = 2  # coordinates before the embedding
TUNED_COUNT = 100  # list length for which `Form.reorder` and `leaves_to_search` were tuned


TITLES_SCHEMA = pa.schema(
    [
        ("title_id", pa.int64()),
        ("title", pa.string()),
        ("object_type", pa.string()),  # movie, show or null
        ("release_date", pa.date32()),
        ("release_year", pa.int32()),
        ("count_positives", pa.int64()),  # that popularity is made of
        ("popularity", pa.float32()),  # standardised, see the manifest
        ("freshness", pa.float32()),  # standardised
        ("genres", pa.list_(pa.string())),
        ("themes", pa.list_(pa.string())),
        ("cast", pa.list_(pa.string())),
        ("directors", pa.list_(pa.string())),
    ]
)
OFFERS_SCHEMA = pa.schema(
    [("row", pa.int32()), ("country", pa.string()), ("provider_id", pa.string()), ("monetization_type", pa.string())]
)


class Bundle:
    """An opened bundle. Loading a SavedModel runs code: nothing is loaded from a folder that was not verified."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, folder: Path | str, verify: bool = True) -> "Bundle":
        """Read the manifest, and check every file against it unless `verify` is off.

        Raises BundleError for an unknown schema, a missing or unlisted file, or a wrong checksum.
        """
        folder = Path(folder)
        manifest = _read_manifest(folder)
        if verify:
            _verify_files(folder, manifest.files)
        return cls(folder, manifest)

    @property
    def version(self) -> str:
        return self.manifest.bundle_version

    @property
    def count_candidates(self) -> int:
        return self.manifest.counts.candidates

    @cached_property
    def titles(self) -> pa.Table:
        """TITLES_SCHEMA, one row per title in the order of vectors."""
        return pq.read_table(self.folder / TITLES)

    @cached_property
    def title_ids(self) -> Ids:
        """[titles]"""
        return self.titles["title_id"].to_numpy()

    @cached_property
    def _order(self) -> Ids:
        return np.argsort(self.title_ids, kind="stable")

    @cached_property
    def _sorted_ids(self) -> Ids:
        return self.title_ids[self._order]

    def rows(self, title_ids: Ids) -> Ids:
        """Rows of titles; -1 for one that the bundle lacks."""
        places = np.minimum(np.searchsorted(self._sorted_ids, title_ids), len(self._sorted_ids) - 1)
        return np.where(self._sorted_ids[places] == title_ids, self._order[places], -1)

    @cached_property
    def vectors(self) -> np.memmap[Any, np.dtype[np.float32]]:
        """float32 [titles, width]; the candidates are the first `count_candidates` rows."""
        return np.load(self.folder / VECTORS, mmap_mode="r")

    @property
    def embeddings(self) -> Floats:
        """float32 [titles, dim]: of `vectors`, without popularity and freshness. Queries of the tower fit them."""
        return self.vectors[:, BESIDE:]

    @cached_property
    def offers(self) -> pa.Table:
        """OFFERS_SCHEMA, ordered by row; texts are dictionary-encoded."""
        return pq.read_table(self.folder / OFFERS, read_dictionary=["country", "provider_id", "monetization_type"])

    @cached_property
    def countries(self) -> Mapping[str, int]:
        """ISO 3166-1 code to the query tower's id; 0 is not known, 1 is another country."""
        return json.loads((self.folder / COUNTRIES).read_text(encoding="utf-8"))

    @cached_property
    def searcher(self) -> Any:
        """The `scann_ops_pybind` searcher over the candidates; `search` calls it as it was tuned."""
        return _runtime().load_searcher(self.folder / SCANN)

    @cached_property
    def query_tower(self) -> Any:
        """Callable: history_rows int64, weights float32, ages_days float32 [batch, length], country int64 [batch].

        Gives float32 [batch, dim].
        """
        return _runtime().load_saved_model(self.folder / QUERY_TOWER)

    @cached_property
    def numpy_tower(self) -> NumpyTower | None:
        """`query_tower` in the form that serving asks; None for a model that has another form."""
        return NumpyTower.of(self.query_tower)

    @cached_property
    def retrieval(self) -> Any:
        """Callable: features to title ids and scores; see indexing/bundle/query_export.py."""
        return _runtime().load_saved_model(self.folder / RETRIEVAL)

    def embed(self, histories: PaddedHistories) -> Floats:
        """[batch, dim]: what the query tower makes of histories whose titles are rows of the bundle."""
        if self.numpy_tower is not None:
            return self.numpy_tower(histories)
        # By its signature: TensorFlow would look for the fitting function anew each time, for as long as that computes.
        tensor = _runtime().tf.constant
        answer = self.query_tower.signatures["serving_default"](
            history_rows=tensor(histories.rows),
            history_weights=tensor(histories.weights),
            history_ages_days=tensor(histories.ages_days),
            country=tensor(histories.countries),
        )
        [queries] = answer.values()
        return queries.numpy()

    def queries(self, embeddings: Floats, dial: float, freshness: float = 0.0) -> Floats:
        """[batch, width]: the query tower's `embeddings` [batch, dim], with weights of popularity and freshness.

        The inner product with a title's vector is embedding · query + dial · popularity + freshness · freshness.
        """
        return turned(self.manifest.vectors, embeddings, dial, freshness)

    def search(self, queries: Floats, count: int) -> tuple[Ids, Floats]:
        """Rows and scores [batch, count] of the best candidates of `queries` [batch, width], best first.

        Where the searcher finds fewer, rows end in -1 with scores of minus infinity.
        """
        form = self.manifest.forms.pybind
        return search(self.searcher, queries, count, form.reorder, form.leaves_to_search)


def turned(vectors: Vectors, embeddings: Floats, dial: float, freshness: float = 0.0) -> Floats:
    """Queries [batch, width] with the dial's coordinates; see `Bundle.queries`."""
    queries = np.empty((len(embeddings), vectors.width), dtype=np.float32)
    queries[:, :BESIDE] = dial / vectors.popularity.scale, freshness / vectors.freshness.scale
    queries[:, BESIDE:] = embeddings
    return queries


def search(searcher: Any, queries: Floats, count: int, reorder: int, leaves_to_search: int) -> tuple[Ids, Floats]:
    """`Bundle.search` with a `scann_ops_pybind` searcher and how it was tuned for lists of up to TUNED_COUNT."""
    rows, scores = searcher.search_batched(
        np.ascontiguousarray(queries, dtype=np.float32),
        final_num_neighbors=count,
        pre_reorder_num_neighbors=reorder_for(reorder, count) or None,
        leaves_to_search=leaves_to_search or None,
    )
    rows, is_none = rows.astype(np.int64), np.isnan(scores)
    if is_none.any():
        return np.where(is_none, -1, rows), np.where(is_none, -np.inf, scores)
    return rows, scores


def reorder_for(reorder: int, count: int) -> int:
    """How many candidates to score again exactly for lists of `count`: in proportion beyond what was tuned for."""
    return -(-reorder * max(count, TUNED_COUNT) // TUNED_COUNT)


def write_bundle(root: Path, version: str, fill: Callable[[Path], Manifest]) -> Bundle:
    """A bundle at `root/version`, which appears whole or not at all.

    `fill` writes everything but the manifest into the folder it gets, and returns the manifest without `files`.
    The folder is synced and verified before it gets its name. Raises BundleError where there is that version already.
    """
    target = root / version
    if target.exists():
        raise BundleError(f"{target}: there is a bundle of this version already; a version is never written twice")
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{UNFINISHED}{version}-", dir=root))
    try:
        folder.chmod(0o755)  # as any folder; mkdtemp's are its owner's alone
        manifest = fill(folder)
        files = {path: _entry(folder / path) for path in _list_files(folder)}
        _write_manifest(folder, manifest.model_copy(update={"files": files}))
        _sync(folder)
        Bundle.open(folder)
        # Fails where another writer was first: a folder with content is not replaced.
        folder.rename(target)
        sync_folder(root)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Bundle.open(target, verify=False)


def manifest_sha256(folder: Path) -> str:
    """What a pointer names a bundle by, besides its version."""
    return _sha256(folder / MANIFEST)


def _read_manifest(folder: Path) -> Manifest:
    try:
        data = (folder / MANIFEST).read_bytes()
        checksum = (folder / MANIFEST_SHA).read_bytes()
    except OSError as error:
        raise BundleError(f"{folder}: no bundle here: {error.strerror}: {error.filename}") from error
    if checksum != _checksum_line(data):
        raise BundleError(f"{folder}: {MANIFEST} is not what {MANIFEST_SHA} vouches for; fetch or build it anew")
    try:
        content = json.loads(data)
        schema = content["schema_version"]
        if schema != SCHEMA_VERSION:
            raise BundleError(f"{folder}: a bundle of schema {schema!r}, but this version reads {SCHEMA_VERSION}")
        return Manifest.model_validate_json(data)
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder}: {MANIFEST} is not as its schema says: {' '.join(str(error).split())}") from error


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    data = (manifest.model_dump_json(indent=1) + "\n").encode()
    (folder / MANIFEST).write_bytes(data)
    (folder / MANIFEST_SHA).write_bytes(_checksum_line(data))


def _checksum_line(manifest: bytes) -> bytes:
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def _verify_files(folder: Path, entries: Mapping[str, FileEntry]) -> None:
    present = set(_list_files(folder)) - {MANIFEST, MANIFEST_SHA}
    if missing := sorted(entries.keys() - present):
        raise BundleError(f"{folder}: files are missing: {', '.join(missing)}")
    if unlisted := sorted(present - entries.keys()):  # ScaNN would unpickle one by the name of scann_docids.pkl
        raise BundleError(f"{folder}: files that the manifest does not name: {', '.join(unlisted)}")
    for path, entry in entries.items():
        if (size := (folder / path).stat().st_size) != entry.bytes:
            raise BundleError(f"{folder}: {path} has {size} bytes, but the manifest says {entry.bytes}")
        if _sha256(folder / path) != entry.sha256:
            raise BundleError(f"{folder}: {path} does not have the checksum that the manifest says")


def _list_files(folder: Path) -> list[str]:
    """Paths of all files in a folder, in order."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def _entry(path: Path) -> FileEntry:
    return FileEntry(sha256=_sha256(path), bytes=path.stat().st_size)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    """Have everything in a folder on the disk, before a name says that it is there."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _runtime() -> ModuleType:
    """Imported where it is needed: who reads vectors or the manifest alone needs no TensorFlow."""
    return importlib.import_module("indexing.ann.runtime")
