"""Where bundles and the pointer lie: a folder of this machine, or S3 and what speaks its protocol.

Both can replace one small object only if it is still what was read: a folder by a lock that its processes share and a
rename, S3 by a conditional put (If-Match, If-None-Match). So of two publishers one is told that it came too late.
Bundles on S3 are worked with in copies on this machine.
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

from indexing.bundle import bundle
from indexing.errors import BundleError

_STALE_SECONDS = 86_400  # a writer that is still at work is younger
_S3_SCHEMES = ("s3", "s3a")
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict")
_ABSENT = ("NoSuchKey", "404", "NotFound")


class Store(Protocol):
    """Bundles are folders of it by version; other objects are small, and read and written whole."""

    location: str

    def read(self, key: str) -> tuple[bytes, str] | None:
        """What an object holds, and the tag of that; None where there is no object."""

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        """Write an object, atomically, if it still has the tag, or is still absent for None; whether it was written."""

    def versions(self) -> list[str]:
        """Bundles that are there whole, in the order of their names."""

    def work_folder(self) -> Path:
        """Where on this machine bundles are written before `add`."""

    def add(self, version: str) -> None:
        """Make a bundle of the work folder one of the store's."""

    def fetch(self, version: str) -> Path:
        """A bundle as a folder of this machine; not verified. Raises BundleError where the store lacks it."""

    def remove(self, version: str) -> None:
        """Delete a bundle."""

    def remove_unfinished(self) -> None:
        """Delete what writers that were killed left."""


def open_store(root: str, copies: str) -> Store:
    """The store at a folder or URI; `copies` is the folder for copies of bundles that lie elsewhere."""
    scheme = urlsplit(root).scheme
    if scheme in _S3_SCHEMES:
        return S3Store(root, Path(copies))
    if scheme not in ("", "file"):
        raise BundleError(
            f"bundles.root: {root}: expected a folder or one of {', '.join(f'{s}://' for s in _S3_SCHEMES)}, "
            "for those can replace a pointer atomically"
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
            found = self.read(key)
            if (found[1] if found else None) != tag:
                return False
            _write_atomically(self._root / key, data)
        return True

    @contextlib.contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        # Let go by the kernel, however the process ends; the file itself stays.
        with (self._root / f".{key}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def versions(self) -> list[str]:
        return sorted(path.parent.name for path in self._root.glob(f"[!.]*/{bundle.MANIFEST}"))

    def work_folder(self) -> Path:
        return self._root

    def add(self, version: str) -> None:
        """It is there already."""

    def fetch(self, version: str) -> Path:
        if version not in (there := self.versions()):
            raise BundleError(f"{self.location}: no bundle {version!r}; there are {', '.join(there) or 'none'}")
        return self._root / version

    def remove(self, version: str) -> None:
        # Renamed first, so that nobody opens one that is half gone.
        gone = Path(tempfile.mkdtemp(prefix=bundle.UNFINISHED, dir=self._root))
        (self._root / version).rename(gone / version)
        shutil.rmtree(gone)

    def remove_unfinished(self) -> None:
        _remove_stale(self._root)


class S3Store:
    """Endpoint and credentials come from the environment, as AWS's own tools read them."""

    def __init__(self, root: str, copies: Path) -> None:
        self.location = root.rstrip("/")
        parts = urlsplit(self.location)
        self._bucket, self._prefix = parts.netloc, f"{parts.path.strip('/')}/".lstrip("/")
        self._copies = copies
        self._client = boto3.client("s3")

    def read(self, key: str) -> tuple[bytes, str] | None:
        with self._named(key):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
                return answer["Body"].read(), answer["ETag"]
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
        return sorted(key.split("/")[0] for key in keys if key.count("/") == 1 and key.endswith(f"/{bundle.MANIFEST}"))

    def work_folder(self) -> Path:
        return self._copies

    def add(self, version: str) -> None:
        folder = self._copies / version
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        # The manifest comes last: without it there is no bundle.
        for path in sorted(paths, key=lambda path: path == folder / bundle.MANIFEST):
            key = f"{self._prefix}{version}/{path.relative_to(folder).as_posix()}"
            with self._named(key):
                self._client.upload_file(str(path), self._bucket, key)

    def fetch(self, version: str) -> Path:
        """A copy that is there already is taken if it is whole, and of the same manifest."""
        found = self.read(f"{version}/{bundle.MANIFEST_SHA}")
        if found is None:
            raise BundleError(
                f"{self.location}: no bundle {version!r}; there are {', '.join(self.versions()) or 'none'}"
            )
        target = self._copies / version
        if target.exists():
            if _is_whole(target, found[0]):
                return target
            shutil.rmtree(target)
        self._copies.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{bundle.UNFINISHED}{version}-", dir=self._copies))
        for key in self._keys(f"{version}/"):
            path = folder / key.removeprefix(f"{self._prefix}{version}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._named(key):
                self._client.download_file(self._bucket, key, str(path))
        folder.chmod(0o755)
        folder.rename(target)
        return target

    def remove(self, version: str) -> None:
        keys = sorted(self._keys(f"{version}/"), key=lambda key: not key.endswith(f"/{bundle.MANIFEST}"))
        for key in keys:  # the manifest first: without it there is no bundle
            with self._named(key):
                self._client.delete_object(Bucket=self._bucket, Key=key)
        shutil.rmtree(self._copies / version, ignore_errors=True)

    def remove_unfinished(self) -> None:
        """Of this machine; an upload that was broken off is no bundle, and the next one of its version goes over it."""
        _remove_stale(self._copies)

    def _keys(self, under: str) -> list[str]:
        with self._named(under):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + under
            )
            return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    @contextlib.contextmanager
    def _named(self, key: str) -> Iterator[None]:
        """Raise what S3 answers as a BundleError that says where."""
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise BundleError(f"{self.location}/{key}: {error}") from error


def _is_whole(copy: Path, manifest_checksum: bytes) -> bool:
    try:
        bundle.Bundle.open(copy)
    except BundleError:
        return False
    return (copy / bundle.MANIFEST_SHA).read_bytes() == manifest_checksum


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
        bundle.sync_folder(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _remove_stale(root: Path) -> None:
    for folder in root.glob(f"{bundle.UNFINISHED}*"):
        if folder.stat().st_mtime < time.time() - _STALE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
