"""Storage of bundles and the pointer: a local folder, or S3 and compatible object stores.

Both replace a small object only if it has not changed since it was read: a folder by a shared lock and a rename, S3 by
a conditional put (If-Match, If-None-Match). So of two publishers at once, one fails. Bundles on S3 are read and built
in local copies.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from indexing.bundle import bundle_writer, checksums
from indexing.bundle.bundle_files import MANIFEST, MANIFEST_SHA, UNFINISHED
from indexing.errors import BundleError

_STALE_SECONDS = 86_400  # unfinished folders of running writers are younger
_S3_SCHEMES = ("s3", "s3a")
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict")
_ABSENT = ("NoSuchKey", "404", "NotFound")


class Store(Protocol):
    """Bundles are folders named by version; other objects are small, and read and written whole."""

    location: str

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Content and tag of an object; None where there is none."""

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        """Write an object atomically if it still has the tag, or is absent for None. Returns False where it has not."""

    def versions(self) -> list[str]:
        """Sorted versions of all complete bundles."""

    def work_folder(self) -> Path:
        """The local folder where bundles are written before `add`."""

    def add(self, version: str) -> None:
        """Add a bundle of the work folder to the store."""

    def fetch(self, version: str) -> Path:
        """The local folder of a bundle, not verified. Raises BundleError where the store lacks it."""

    def remove(self, version: str) -> None:
        """Delete a bundle."""

    def remove_unfinished(self) -> None:
        """Delete unfinished bundles of killed writers."""


def open_store(root: str, copies: str) -> Store:
    """The store at a folder or URI; `copies` is the local folder for copies of remote bundles."""
    scheme = urlsplit(root).scheme
    if scheme in _S3_SCHEMES:
        return S3Store(root, Path(copies))
    if scheme not in ("", "file"):
        raise BundleError(
            f"bundles.root: {root}: expected a folder or one of {', '.join(f'{s}://' for s in _S3_SCHEMES)}, "
            "which can replace a pointer atomically"
        )
    return LocalStore(Path(urlsplit(root).path if scheme else root))


class LocalStore:
    """A folder; its processes may be on several machines where the file system locks across them."""

    def __init__(self, root: Path) -> None:
        self.location = str(root)
        self._root = root

    def read(self, key: str) -> tuple[bytes, str] | None:
        try:
            data = (self._root / key).read_bytes()
        except FileNotFoundError:
            return None
        return data, hashlib.sha256(data).hexdigest()

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        self._root.mkdir(parents=True, exist_ok=True)
        with self._locked(key):
            stored = self.read(key)
            if (stored[1] if stored else None) != tag:
                return False
            _write_atomically(self._root / key, data)
        return True

    @contextlib.contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        # The kernel releases the lock however the process ends; the file stays.
        with (self._root / f".{key}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def versions(self) -> list[str]:
        return sorted(path.parent.name for path in self._root.glob(f"[!.]*/{MANIFEST}"))

    def work_folder(self) -> Path:
        return self._root

    def add(self, version: str) -> None:
        """Nothing to do: the work folder is the store."""

    def fetch(self, version: str) -> Path:
        if version not in (versions := self.versions()):
            raise BundleError(f"{self.location}: no bundle {version!r}; there are {', '.join(versions) or 'none'}")
        return self._root / version

    def remove(self, version: str) -> None:
        # Renamed first, so that no reader opens a partly deleted bundle.
        removed = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self._root))
        (self._root / version).rename(removed / version)
        shutil.rmtree(removed)

    def remove_unfinished(self) -> None:
        _remove_stale(self._root)


class S3Store:
    """Endpoint and credentials come from the environment, by the variables of AWS' own tools."""

    def __init__(self, root: str, copies: Path) -> None:
        self.location = root.rstrip("/")
        parts = urlsplit(self.location)
        self._bucket, self._prefix = parts.netloc, f"{parts.path.strip('/')}/".lstrip("/")
        self._copies = copies
        self._client = boto3.client("s3")

    def read(self, key: str) -> tuple[bytes, str] | None:
        with self._named(key):
            try:
                response = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
                return response["Body"].read(), response["ETag"]
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        with self._named(key):
            try:
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data, **condition)
            except ClientError as error:
                if _code(error) in (*_CHANGED, *_ABSENT):
                    return False
                raise
        return True

    def versions(self) -> list[str]:
        keys = (key.removeprefix(self._prefix) for key in self._keys(""))
        return sorted(key.split("/")[0] for key in keys if key.count("/") == 1 and key.endswith(f"/{MANIFEST}"))

    def work_folder(self) -> Path:
        return self._copies

    def add(self, version: str) -> None:
        folder = self._copies / version
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        # The manifest comes last: without it there is no bundle.
        for path in sorted(paths, key=lambda path: path == folder / MANIFEST):
            key = f"{self._prefix}{version}/{path.relative_to(folder).as_posix()}"
            with self._named(key):
                self._client.upload_file(str(path), self._bucket, key)

    def fetch(self, version: str) -> Path:
        """Reuses a copy that is complete and has the same manifest."""
        checksum = self.read(f"{version}/{MANIFEST_SHA}")
        if checksum is None:
            raise BundleError(
                f"{self.location}: no bundle {version!r}; there are {', '.join(self.versions()) or 'none'}"
            )
        target = self._copies / version
        if target.exists():
            if _is_whole(target, checksum[0]):
                return target
            shutil.rmtree(target)
        self._copies.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{UNFINISHED}{version}-", dir=self._copies))
        for key in self._keys(f"{version}/"):
            path = folder / key.removeprefix(f"{self._prefix}{version}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._named(key):
                self._client.download_file(self._bucket, key, str(path))
        folder.chmod(0o755)
        folder.rename(target)
        return target

    def remove(self, version: str) -> None:
        keys = sorted(self._keys(f"{version}/"), key=lambda key: not key.endswith(f"/{MANIFEST}"))
        for key in keys:  # the manifest first: without it there is no bundle
            with self._named(key):
                self._client.delete_object(Bucket=self._bucket, Key=key)
        shutil.rmtree(self._copies / version, ignore_errors=True)

    def remove_unfinished(self) -> None:
        """Deletes local folders only: an interrupted upload is no bundle, and the next one overwrites it."""
        _remove_stale(self._copies)

    def _keys(self, under: str) -> list[str]:
        with self._named(under):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + under
            )
            return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    @contextlib.contextmanager
    def _named(self, key: str) -> Iterator[None]:
        """Turn an error of S3 into a BundleError that names the object."""
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise BundleError(f"{self.location}/{key}: {error}") from error


def _is_whole(copy: Path, manifest_checksum: bytes) -> bool:
    try:
        checksums.verify(copy)
    except BundleError:
        return False
    return (copy / MANIFEST_SHA).read_bytes() == manifest_checksum


def _code(error: ClientError) -> Any:
    return error.response.get("Error", {}).get("Code")


def _write_atomically(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
        bundle_writer.sync_folder(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _remove_stale(root: Path) -> None:
    for folder in root.glob(f"{UNFINISHED}*"):
        if folder.stat().st_mtime < time.time() - _STALE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
