"""CURRENT, the pointer to the live bundle, with its history. One object, replaced by compare-and-swap."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from indexing.errors import BundleError
from indexing.publishing.storage import Store

KEY = "CURRENT"
SCHEMA_VERSION = 1


class Entry(BaseModel):
    """A bundle that was made live, identified by its version and its manifest's checksum."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sequence: int  # from 1, one more with each change
    version: str
    manifest_sha256: str
    at: datetime
    action: Literal["publish", "rollback"]


class Pointer(BaseModel):
    """Content of CURRENT."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1]
    live: Entry
    history: Sequence[Entry]  # earlier live bundles, the newest first

    def published_before(self) -> Entry | None:
        """The bundle that was live before the live one was published: the target of a rollback.

        After a rollback this is an older bundle still, never the one that was rolled back.
        """
        entries = [self.live, *self.history]
        published = next(
            n for n, entry in enumerate(entries) if entry.version == self.live.version and entry.action == "publish"
        )
        older = (entry for entry in entries[published + 1 :] if entry.version != self.live.version)
        return next(older, None)


def read(store: Store) -> Pointer | None:
    """The pointer, or None before anything was published. Raises BundleError for a pointer of another form."""
    return read_tagged(store)[0]


def read_tagged(store: Store) -> tuple[Pointer | None, str | None]:
    """The pointer with its tag, which `swap` takes."""
    stored = store.read(KEY)
    if stored is None:
        return None, None
    data, tag = stored
    try:
        return Pointer.model_validate_json(data), tag
    except ValidationError as error:
        raise BundleError(
            f"{store.location}/{KEY} is no pointer of schema {SCHEMA_VERSION}: {' '.join(str(error).split())}"
        ) from error


def swap(
    store: Store,
    before: tuple[Pointer | None, str | None],
    version: str,
    manifest_sha256: str,
    action: Literal["publish", "rollback"],
) -> Pointer:
    """Make a bundle live, if the pointer has not changed since `before` was read.

    Raises BundleError where another process changed it in the meantime.
    """
    old, tag = before
    entries = [] if old is None else [old.live, *old.history]
    sequence = entries[0].sequence + 1 if entries else 1
    live = Entry(
        sequence=sequence, version=version, manifest_sha256=manifest_sha256, at=datetime.now(UTC), action=action
    )
    new = Pointer(schema_version=SCHEMA_VERSION, live=live, history=entries)
    if not store.replace(KEY, (new.model_dump_json(indent=1) + "\n").encode(), tag):
        now = read(store)
        other = "nothing" if now is None else f"{now.live.version} by {now.live.action} {now.live.sequence}"
        raise BundleError(
            f"{store.location}/{KEY}: {version} was not made live, because another process changed the pointer in the "
            f"meantime: {other} is live now; check that, then run the command again"
        )
    return new
