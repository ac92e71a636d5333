"""Live swap: a retriever that follows the published bundle while requests are served, and refuses a bad bundle.

    with LiveRetriever(store, settings.serving) as live:
        answer = live.current.recommend(history=[318])      # take `current` once per request

`current` is a single reference. It is replaced once the new bundle is verified, loaded, and returns the recorded lists
of its golden users. Requests that hold the old retriever finish with it; it is freed after the last one.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from conf.settings import Serving
from indexing.errors import BundleError
from indexing.publishing import publication
from indexing.publishing.pointer import Entry
from indexing.publishing.storage import Store
from serving.retriever import Retriever

log = logging.getLogger("marquee")


@dataclass(frozen=True)
class Refused:
    """A bundle that the pointer names but that is not served."""

    version: str
    reason: str
    at: float  # time.monotonic()


class LiveRetriever:
    """Reads the pointer every `options.refresh_seconds` in a background thread."""

    def __init__(
        self, store: Store, options: Serving, on_change: Callable[[Retriever | Refused], None] | None = None
    ) -> None:
        """Open the live bundle; raises BundleError where it can't be served, since there is no older one to keep.

        `on_change` is called with every retriever that becomes current and every refused bundle.
        """
        self._store = store
        self._options = options
        self._on_change = on_change
        self._entry = publication.live_entry(store)
        self.refused: Refused | None = None
        self.current = _open(store, self._entry, options)
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="bundle-watcher", daemon=True)
        self._notify(self.current)

    def __enter__(self) -> "LiveRetriever":
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._watcher.join()

    def refresh(self) -> bool:
        """Read the pointer now; True if another bundle became current. A bundle that can't be served is logged."""
        try:
            entry = publication.live_entry(self._store)
        except (BundleError, OSError) as error:
            self._refuse("CURRENT", error)
            return False
        if _is_same(entry, self._entry):
            self.refused = None
            return False
        if self._was_just_refused(entry.version):
            return False
        try:
            opened = _open(self._store, entry, self._options)
        except (BundleError, OSError) as error:
            self._refuse(entry.version, error)
            return False
        log.info("bundle %s is served now, instead of %s", entry.version, self._entry.version)
        self.current, self._entry, self.refused = opened, entry, None
        self._notify(opened)
        return True

    def _was_just_refused(self, version: str) -> bool:
        """True for `refused_retry_seconds` after a refusal: verifying takes seconds and is not repeated at once."""
        last = self.refused
        return (
            last is not None
            and last.version == version
            and time.monotonic() < last.at + self._options.refused_retry_seconds
        )

    def _refuse(self, version: str, error: Exception) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        is_new = self.refused is None or (self.refused.version, self.refused.reason) != (version, reason)
        self.refused = Refused(version, reason, time.monotonic())
        if is_new:
            log.error("bundle %s is refused, %s is still served: %s", version, self._entry.version, reason)
            self._notify(self.refused)

    def _notify(self, event: Retriever | Refused) -> None:
        if self._on_change:
            self._on_change(event)

    def _watch(self) -> None:
        while not self._stopped.wait(self._options.refresh_seconds):
            self.refresh()


def _is_same(left: Entry, right: Entry) -> bool:
    return (left.version, left.manifest_sha256) == (right.version, right.manifest_sha256)


def _open(store: Store, entry: Entry, options: Serving) -> Retriever:
    """Raises BundleError for a bundle that is incomplete, or that a retriever can't load."""
    opened = publication.open_entry(store, entry)
    try:
        publication.check(opened)
        return Retriever(opened, options)
    except BundleError:
        raise
    except Exception as error:  # TensorFlow's and ScaNN's errors share no base class
        raise BundleError(f"{opened.folder}: can't be loaded: {type(error).__name__}: {error}") from error
