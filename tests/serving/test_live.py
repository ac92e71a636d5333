"""New bundles become current while requests are served; bad ones are refused."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conf.loader import load_settings
from conf.settings import Serving, with_changes
from indexing.bundle import bundle_files, bundle_writer, checksums
from indexing.bundle.bundle import Bundle
from indexing.bundle.manifest import Manifest
from indexing.errors import BundleError
from indexing.publishing import pointer, publication
from indexing.publishing.storage import Store, open_store
from serving.live import LiveRetriever, Refused
from serving.retriever import Retriever

FIRST, SECOND = "20240514T000000Z-m7", "20240515T000000Z-m7"
OPTIONS: Serving = with_changes(load_settings(), {"serving.refresh_seconds": 0.02}).serving


def copy(source: Bundle, root: Path, version: str) -> Path:
    """A valid copy of a bundle under another version."""
    manifest = source.manifest.model_copy(update={"bundle_version": version, "files": {}})

    def fill(folder: Path) -> Manifest:
        shutil.copytree(source.folder, folder, dirs_exist_ok=True)
        for name in (bundle_files.MANIFEST, bundle_files.MANIFEST_SHA):
            (folder / name).unlink()
        return manifest

    return bundle_writer.write_bundle(root, version, fill)


@pytest.fixture
def store(tmp_path: Path, small_bundle: Bundle) -> Store:
    """Two bundles, the first one live."""
    copy(small_bundle, tmp_path, FIRST)
    copy(small_bundle, tmp_path, SECOND)
    made = open_store(str(tmp_path), str(tmp_path / "copies"))
    publication.publish(made, FIRST)
    return made


def point_to(store: Store, folder: Path) -> None:
    """Make a bundle live without verifying it, as if its files were damaged after publishing."""
    pointer.swap(store, pointer.read_tagged(store), folder.name, checksums.manifest_sha256(folder), "publish")


def test_published_bundle_becomes_current_and_the_old_one_still_answers(store: Store) -> None:
    live = LiveRetriever(store, OPTIONS)
    old = live.current
    assert old.version == FIRST
    assert live.refresh() is False  # nothing new
    publication.publish(store, SECOND)
    assert live.refresh() is True
    assert live.current.version == SECOND
    store.remove(FIRST)  # requests that still use it have it in memory
    assert old.recommend([1003], k=3, country="DE").bundle_version == FIRST
    assert live.current.recommend([1003], k=3).bundle_version == SECOND


def test_every_file_with_a_flipped_byte_is_refused(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Retriever | Refused] = []
    options = OPTIONS.model_copy(update={"refused_retry_seconds": 1e-9})
    live = LiveRetriever(store, options, events.append)
    folder = tmp_path / SECOND
    point_to(store, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) > 10
    for path in files:
        good = path.read_bytes()
        path.write_bytes(good[: len(good) // 2] + bytes([good[len(good) // 2] ^ 1]) + good[len(good) // 2 + 1 :])
        assert live.refresh() is False, path
        assert live.current.version == FIRST
        assert live.refused is not None
        assert live.refused.version == SECOND
        path.write_bytes(good)
    refused = [event for event in events if isinstance(event, Refused)]
    # Each refusal has another reason, but for those of the manifest and its checksum.
    assert len(refused) == len(files) - 1
    assert f"bundle {SECOND} is refused, {FIRST} is still served" in caplog.text
    assert live.refresh() is True
    assert (live.current.version, live.refused) == (SECOND, None)


def test_refused_bundle_is_not_opened_again_at_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = LiveRetriever(store, OPTIONS)
    (tmp_path / SECOND / bundle_files.TITLES).unlink()
    point_to(store, tmp_path / SECOND)
    opened: list[str] = []
    open_entry = publication.open_entry
    monkeypatch.setattr(publication, "open_entry", lambda *given: (opened.append(SECOND), open_entry(*given))[1])
    assert [live.refresh(), live.refresh()] == [False, False]
    assert opened == [SECOND]
    assert live.refused is not None
    assert "files are missing: titles.parquet" in live.refused.reason
    publication.roll_back(store, FIRST)
    assert live.refresh() is False
    assert live.refused is None


def test_bundle_with_another_manifest_under_its_name_is_refused(
    store: Store, small_bundle: Bundle, tmp_path: Path
) -> None:
    live = LiveRetriever(store, OPTIONS)
    publication.publish(store, SECOND)
    shutil.rmtree(tmp_path / SECOND)
    copy(small_bundle, tmp_path, "20240516T000000Z-m7").rename(tmp_path / SECOND)
    assert live.refresh() is False
    assert live.refused is not None
    assert "this is not the bundle that was published" in live.refused.reason


def test_bundle_that_cannot_be_loaded_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class OpError(Exception):
        """Like TensorFlow's errors, which share no base class with others."""

    live = LiveRetriever(store, OPTIONS)
    publication.publish(store, SECOND)

    def fail(_opened: Bundle) -> None:
        raise OpError("no such op")

    monkeypatch.setattr(publication, "check", fail)
    assert live.refresh() is False
    assert live.current.version == FIRST
    assert live.refused is not None
    assert live.refused.reason.endswith(f"{SECOND}: can't be loaded: OpError: no such op")


def test_pointer_that_cannot_be_read_changes_nothing(store: Store, tmp_path: Path) -> None:
    live = LiveRetriever(store, OPTIONS)
    good = (tmp_path / pointer.KEY).read_bytes()
    (tmp_path / pointer.KEY).write_bytes(good[:-20])
    assert live.refresh() is False
    assert live.current.version == FIRST
    (tmp_path / pointer.KEY).write_bytes(good)
    assert live.refresh() is False
    assert live.refused is None


def test_first_bundle_must_be_good(store: Store, tmp_path: Path) -> None:
    (tmp_path / FIRST / bundle_files.GOLDEN).unlink()
    with pytest.raises(BundleError, match=r"files are missing: golden\.npz"):
        LiveRetriever(store, OPTIONS)


def wait_for(is_so: Callable[[], bool]) -> bool:
    ends = time.monotonic() + 60
    while not is_so() and time.monotonic() < ends:
        time.sleep(0.01)
    return is_so()


def test_watcher_swaps_under_requests_without_mixing(store: Store) -> None:
    failures: list[str] = []
    seen: set[str] = set()
    ended = threading.Event()

    def ask(live: LiveRetriever) -> None:
        while not ended.is_set():
            retriever = live.current
            answer = retriever.recommend([1003, 1010], country="DE", k=5, why=False)
            seen.add(answer.bundle_version)
            if answer.bundle_version != retriever.version or len(answer.items) != 5:
                failures.append(repr(answer))

    with LiveRetriever(store, OPTIONS) as live:
        asking = [threading.Thread(target=ask, args=(live,)) for _ in range(2)]
        for thread in asking:
            thread.start()
        try:
            for version in (SECOND, FIRST):
                publication.publish(store, version)
                assert wait_for(lambda version=version: live.current.version == version)  # type: ignore[misc]
        finally:
            ended.set()
            for thread in asking:
                thread.join()
    assert failures == []
    assert seen == {FIRST, SECOND}
