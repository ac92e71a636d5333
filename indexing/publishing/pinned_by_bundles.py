"""Which versions of the lake's tables the bundles that are kept were made of: those must stay readable.

Imports neither TensorFlow nor ScaNN, for Spark jobs ask this.
"""

import json
from collections.abc import Mapping

from indexing.bundle import bundle
from indexing.errors import BundleError
from indexing.publishing.storage import Store


def oldest_versions(store: Store) -> dict[str, int]:
    """The oldest version per table that a bundle of the store names: what it was built from, or its model trained on.

    Whether published or not, and of whatever schema: what may be rolled back to must stay reproducible. Raises
    BundleError for a manifest that does not say, since what is pinned is then not known.
    """
    oldest: dict[str, int] = {}
    for version in store.versions():
        found = store.read(f"{version}/{bundle.MANIFEST}")
        if found is None:  # removed since it was listed
            continue
        for table, pinned in _named(store, version, found[0]):
            oldest[table] = min(pinned, oldest.get(table, pinned))
    return oldest


def _named(store: Store, version: str, manifest: bytes) -> list[tuple[str, int]]:
    try:
        said = json.loads(manifest)
        parts: list[Mapping[str, int]] = [said["delta_versions"], said["model"]["delta_versions"]]
        return [(table, int(number)) for part in parts for table, number in part.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{store.location}/{version}/{bundle.MANIFEST}: expected the Delta versions that it was built from, "
            f"found none ({type(error).__name__}: {error}); remove the bundle or mend it"
        ) from error
