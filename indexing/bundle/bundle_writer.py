"""Writing of a bundle's folder: it appears whole, synced and verified, or not at all."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from indexing.bundle import checksums
from indexing.bundle.bundle_files import UNFINISHED
from indexing.bundle.manifest import Manifest
from indexing.errors import BundleError


def write_bundle(root: Path, version: str, fill: Callable[[Path], Manifest]) -> Path:
    """Write a bundle to `root/version`, and return that folder.

    `fill` writes every file but the manifest into the folder it gets, and returns the manifest without `files`. Raises
    BundleError where the version exists already.
    """
    target = root / version
    if target.exists():
        raise BundleError(f"{target}: there is a bundle of this version already; a version is never written twice")
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{UNFINISHED}{version}-", dir=root))
    try:
        folder.chmod(0o755)  # mkdtemp's folders are readable by their owner alone
        checksums.write_manifest(folder, fill(folder))
        _sync(folder)
        checksums.verify(folder)
        # Fails where another writer was first: a folder with content is not replaced.
        folder.rename(target)
        sync_folder(root)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return target


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    """Flush everything in a folder to the disk, before a name announces it."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)
