"""Table versions of the lake that stored bundles were built from, which must stay readable.

Imports neither TensorFlow nor ScaNN: Spark jobs use this module.
"""

import json
from collections.abc import Mapping

from indexing.bundle import bundle_files
from indexing.errors import BundleError
from indexing.publishing.storage import Store


def oldest_versions(store: Store) -> dict[str, int]:
    """The oldest version per table that any bundle was built from or its model trained on.

    Covers all bundles of the store, of any schema, published or not: a bundle that can be rolled back to must stay
    reproducible. Raises BundleError for a manifest without these versions.
    """
    oldest: dict[str, int] = {}
    for version in store.versions():
        stored = store.read(f"{version}/{bundle_files.MANIFEST}")
        if stored is None:  # removed since it was listed
            continue
        for table, pinned in _table_versions(store, version, stored[0]):
            oldest[table] = min(pinned, oldest.get(table, pinned))
    return oldest


def _table_versions(store: Store, version: str, manifest: bytes) -> list[tuple[str, int]]:
    try:
        content = json.loads(manifest)
        parts: list[Mapping[str, int]] = [content["delta_versions"], content["model"]["delta_versions"]]
        return [(table, int(number)) for part in parts for table, number in part.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{store.location}/{version}/{bundle_files.MANIFEST}: expected the Delta versions that it was built from, "
            f"found none ({type(error).__name__}: {error}); remove or repair the bundle"
        ) from error
