"""The manifest and the checksums of a bundle's files: written once, verified by every reader."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from indexing.bundle.bundle_files import MANIFEST, MANIFEST_SHA
from indexing.bundle.manifest import SCHEMA_VERSION, FileEntry, Manifest
from indexing.errors import BundleError


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest with the checksums of all files in the folder, and its own checksum beside it."""
    files = {path: _entry(folder / path) for path in _list_files(folder)}
    data = (manifest.model_copy(update={"files": files}).model_dump_json(indent=1) + "\n").encode()
    (folder / MANIFEST).write_bytes(data)
    (folder / MANIFEST_SHA).write_bytes(checksum_line(data))


def read_manifest(folder: Path) -> Manifest:
    """The manifest, checked against its own checksum. Raises BundleError where it is damaged or of another schema."""
    try:
        data = (folder / MANIFEST).read_bytes()
        checksum = (folder / MANIFEST_SHA).read_bytes()
    except OSError as error:
        raise BundleError(f"{folder}: no bundle here: {error.strerror}: {error.filename}") from error
    if checksum != checksum_line(data):
        raise BundleError(f"{folder}: {MANIFEST} does not match {MANIFEST_SHA}; fetch the bundle again or rebuild it")
    try:
        content = json.loads(data)
        schema = content["schema_version"]
        if schema != SCHEMA_VERSION:
            raise BundleError(f"{folder}: the bundle has schema {schema!r}, but this version reads {SCHEMA_VERSION}")
        return Manifest.model_validate_json(data)
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder}: {MANIFEST} does not fit its schema: {' '.join(str(error).split())}") from error


def verify(folder: Path) -> Manifest:
    """Read the manifest, and check every file against it. Raises BundleError where anything differs."""
    manifest = read_manifest(folder)
    _verify_files(folder, manifest.files)
    return manifest


def _verify_files(folder: Path, entries: Mapping[str, FileEntry]) -> None:
    present = set(_list_files(folder)) - {MANIFEST, MANIFEST_SHA}
    if missing := sorted(entries.keys() - present):
        raise BundleError(f"{folder}: files are missing: {', '.join(missing)}")
    if unlisted := sorted(present - entries.keys()):  # ScaNN would unpickle a file named scann_docids.pkl
        raise BundleError(f"{folder}: files that the manifest does not name: {', '.join(unlisted)}")
    for path, entry in entries.items():
        if (size := (folder / path).stat().st_size) != entry.bytes:
            raise BundleError(f"{folder}: {path} has {size} bytes, but the manifest says {entry.bytes}")
        if _sha256(folder / path) != entry.sha256:
            raise BundleError(f"{folder}: {path} does not have the checksum that the manifest says")


def manifest_sha256(folder: Path) -> str:
    """Checksum of the manifest; the pointer names a bundle by its version and this."""
    return _sha256(folder / MANIFEST)


def checksum_line(manifest: bytes) -> bytes:
    """Content of manifest.json.sha256."""
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def _list_files(folder: Path) -> list[str]:
    """Sorted paths of all files in a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def _entry(path: Path) -> FileEntry:
    return FileEntry(sha256=_sha256(path), bytes=path.stat().st_size)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
