"""The retriever of the live bundle: a new one is picked up while requests are served, a bad one is refused.

    with LiveRetriever(store, settings.serving) as live:
        answer = live.current.recommend(history=[318])      # take `current` once per request

`current` is one reference, swapped whole once the new bundle is verified, loaded, and answers its golden users as it
did at its build. Who took the old retriever goes on with it; it is gone when nobody has it any more.
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
    """A bundle that the pointer names and that is not served."""

    version: str
    reason: str
    at: float  # time.monotonic()


class LiveRetriever:
    """Looks at the pointer every `options.refresh_seconds`, in a thread of its own."""

    def __init__(
        self, store: Store, options: Serving, on_change: Callable[[Retriever | Refused], None] | None = None
    ) -> None:
        """Opens the live bundle; raises BundleError where that can't be served, for there is no other yet.

        `on_change` is told of every bundle that is taken up or refused.
        """
        self._store = store
        self._options = options
        self._on_change = on_change
        self._entry = publication.live_entry(store)
        self.refused: Refused | None = None
        self.current = _open(store, self._entry, options)
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="bundle-watcher", daemon=True)
        self._tell(self.current)

    def __enter__(self) -> "LiveRetriever":
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._watcher.join()

    def refresh(self) -> bool:
        """Look at the pointer now; whether another bundle was taken up. What can't be served is refused and logged."""
        try:
            entry = publication.live_entry(self._store)
        except (BundleError, OSError) as error:
            self._refuse("CURRENT", error)
            return False
        if _is_same(entry, self._entry):
            self.refused = None
            return False
        if self._is_left_alone(entry.version):
            return False
        try:
            opened = _open(self._store, entry, self._options)
        except (BundleError, OSError) as error:
            self._refuse(entry.version, error)
            return False
        log.info("bundle %s is served from now on, instead of %s", entry.version, self._entry.version)
        self.current, self._entry, self.refused = opened, entry, None
        self._tell(opened)
        return True

    def _is_left_alone(self, version: str) -> bool:
        """Verifying takes seconds: what was refused a moment ago is not tried again at once."""
        last = self.refused
        return (
            last is not None
            and last.version == version
            and time.monotonic() < last.at + self._options.refused_retry_seconds
        )

    def _refuse(self, version: str, error: Exception) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        is_news = self.refused is None or (self.refused.version, self.refused.reason) != (version, reason)
        self.refused = Refused(version, reason, time.monotonic())
        if is_news:
            log.error("bundle %s is refused, %s goes on being served: %s", version, self._entry.version, reason)
            self._tell(self.refused)

    def _tell(self, news: Retriever | Refused) -> None:
        if self._on_change:
            self._on_change(news)

    def _watch(self) -> None:
        while not self._ended.wait(self._options.refresh_seconds):
            self.refresh()


def _is_same(left: Entry, right: Entry) -> bool:
    return (left.version, left.manifest_sha256) == (right.version, right.manifest_sha256)


def _open(store: Store, entry: Entry, options: Serving) -> Retriever:
    """Raises BundleError for a bundle that is not whole, or from which a retriever can't be made."""
    opened = publication.open_entry(store, entry)
    try:
        publication.check(opened)
        return Retriever(opened, options)
    except BundleError:
        raise
    except Exception as error:  # TensorFlow and ScaNN have errors of their own, and all of them mean this
        raise BundleError(f"{opened.folder}: can't be loaded: {type(error).__name__}: {error}") from error
