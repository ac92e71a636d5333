"""Publication of bundles: open the live one, publish, roll back, remove old ones."""

import logging
from datetime import UTC, datetime, timedelta

from conf.settings import Settings
from indexing.bundle import checksums, parity
from indexing.bundle.bundle import Bundle
from indexing.bundle.manifest import Parity
from indexing.bundle.parity import ParityCases, Served
from indexing.errors import BundleError
from indexing.publishing import pointer
from indexing.publishing.pointer import Entry, Pointer
from indexing.publishing.storage import Store, open_store

log = logging.getLogger("marquee")


def store_of(settings: Settings) -> Store:
    """The store of the settings' bundles."""
    return open_store(settings.bundles.root, settings.bundles.copies)


def live_entry(store: Store) -> Entry:
    """The entry of the live bundle. Raises BundleError before any publication."""
    current = pointer.read(store)
    if current is None:
        raise BundleError(f"{store.location}: nothing is published; run indexing.build, then indexing.publish")
    return current.live


def open_entry(store: Store, entry: Entry) -> Bundle:
    """A bundle of the pointer, verified. Raises BundleError where its manifest is not the one that was published."""
    opened = Bundle.open(store.fetch(entry.version))
    if checksums.manifest_sha256(opened.folder) != entry.manifest_sha256:
        raise BundleError(
            f"{opened.folder}: this is not the bundle that was published as {entry.version}: its manifest differs"
        )
    return opened


def open_live(store: Store) -> Bundle:
    """The live bundle, verified."""
    return open_entry(store, live_entry(store))


def check(opened: Bundle) -> Parity:
    """Load everything in a verified bundle, and compare the lists of its golden users.

    Raises BundleError where counts or lists differ from those of the build.
    """
    manifest, counts = opened.manifest, opened.manifest.counts
    expected = {
        "titles.parquet": (len(opened.titles), counts.titles),
        "offers.parquet": (len(opened.offers), counts.offers),
        "countries.json": (len(opened.countries), counts.countries),
        "vectors.npy": (opened.vectors.shape, (counts.titles, manifest.vectors.vector_dim)),
        "scann": (opened.searcher.size(), counts.candidates),
    }
    for name, (actual, listed) in expected.items():
        if actual != listed:
            raise BundleError(f"{opened.folder}: {name} holds {actual}, but the manifest says {listed}")
    reached = parity.replay(ParityCases.load(opened.folder), Served.of(opened), manifest.dial.settings)
    parity.refuse_difference(reached, manifest.tolerance)
    return reached


def publish(store: Store, version: str | None) -> Pointer:
    """Verify a bundle and make it live; the newest one by default.

    Raises BundleError where verification fails, or another process changed the pointer in the meantime.
    """
    before = pointer.read_tagged(store)
    if version is None:
        if not (versions := store.versions()):
            raise BundleError(f"{store.location}: there is no bundle to publish; run indexing.build")
        version = versions[-1]
    opened = Bundle.open(store.fetch(version))
    check(opened)
    sha256 = checksums.manifest_sha256(opened.folder)
    old = before[0]
    if old and (old.live.version, old.live.manifest_sha256) == (version, sha256):
        log.info("%s is live already", version)
        return old
    return pointer.swap(store, before, version, sha256, "publish")


def roll_back(store: Store, version: str | None) -> Pointer:
    """Make an earlier bundle live again; by default the one before the live one was published.

    Raises BundleError where there is none, verification fails, or another process changed the pointer in the meantime.
    """
    before = pointer.read_tagged(store)
    old = before[0]
    if old is None:
        raise BundleError(f"{store.location}: nothing is published, so nothing can be rolled back")
    target = _earlier(store, old, version)
    check(open_entry(store, target))
    return pointer.swap(store, before, target.version, target.manifest_sha256, "rollback")


def _earlier(store: Store, old: Pointer, version: str | None) -> Entry:
    if version is None:
        before = old.published_before()
        if before is None:
            raise BundleError(f"{store.location}: no bundle was live before {old.live.version}")
        return before
    if version == old.live.version:
        raise BundleError(f"{store.location}: {version} is live already")
    matching = [entry for entry in old.history if entry.version == version]
    if not matching:
        live_versions = ", ".join(dict.fromkeys(entry.version for entry in old.history)) or "none"
        raise BundleError(f"{store.location}: {version!r} was never live; those that were: {live_versions}")
    return matching[0]


def remove_old(store: Store, keep_bundles: int, keep_days: int, now: datetime | None = None) -> list[str]:
    """Delete bundles that are neither live, nor among the newest `keep_bundles`, nor younger than `keep_days`.

    Returns their versions. Nothing is deleted before the first publication.
    """
    oldest = (now or datetime.now(UTC)) - timedelta(days=keep_days)
    removed = []
    for version in store.versions()[:-keep_bundles]:
        built = built_at(version)
        current = pointer.read(store)  # read each time: a rollback may happen meanwhile
        if current is None:
            break
        if version != current.live.version and built is not None and built < oldest:
            store.remove(version)
            removed.append(version)
            log.info("removed bundle %s", version)
    store.remove_unfinished()
    return removed


_BUILT = "%Y%m%dT%H%M%SZ"


def name_version(model_version: int, moment: datetime) -> str:
    """Name of a new bundle; names sort by the moment of the build."""
    return f"{moment.astimezone(UTC).strftime(_BUILT)}-m{model_version}"


def built_at(version: str) -> datetime | None:
    """The moment in a bundle's name; None for other names, whose bundles are never removed by age."""
    try:
        return datetime.strptime(version.split("-")[0], _BUILT).replace(tzinfo=UTC)
    except ValueError:
        return None
