"""An object is replaced only if it has not changed, a bundle is there whole or not at all: on a disk, and on S3."""

import shutil
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from indexing.bundle.bundle import Bundle
from indexing.errors import BundleError
from indexing.publishing import storage
from indexing.publishing.storage import Store


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points S3 clients to the local server."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "disk":
        return storage.open_store(str(tmp_path / "bundles"), str(tmp_path / "copies"))
    request.getfixturevalue("s3")
    bucket = f"test-{uuid.uuid4()}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return storage.open_store(f"s3a://{bucket}/lake/bundles", str(tmp_path / "copies"))


def put(store: Store, bundle: Bundle, version: str) -> None:
    shutil.copytree(bundle.folder, store.work_folder() / version)
    store.add(version)


def test_object_is_replaced_only_with_the_tag_that_was_read(store: Store) -> None:
    assert store.read("CURRENT") is None
    assert store.replace("CURRENT", b"a", None)
    assert not store.replace("CURRENT", b"b", None)
    data, tag = store.read("CURRENT") or (b"", "")
    assert data == b"a"
    assert store.replace("CURRENT", b"c", tag)
    assert not store.replace("CURRENT", b"d", tag)
    assert (store.read("CURRENT") or (b"", ""))[0] == b"c"


def test_of_many_writers_at_once_one_wins(store: Store) -> None:
    assert store.replace("CURRENT", b"old", None)
    tag = (store.read("CURRENT") or (b"", ""))[1]
    ready = threading.Barrier(8)
    won: list[bytes] = []

    def write(name: bytes) -> None:
        ready.wait()
        if store.replace("CURRENT", name, tag):
            won.append(name)

    writers = [threading.Thread(target=write, args=(b"writer %d" % n,)) for n in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(won) == 1
    assert (store.read("CURRENT") or (b"", ""))[0] == won[0]


def test_bundle_is_fetched_as_it_was_added(store: Store, small_bundle: Bundle, tmp_path: Path) -> None:
    assert store.versions() == []
    put(store, small_bundle, "v2")
    put(store, small_bundle, "v1")
    assert store.versions() == ["v1", "v2"]
    shutil.rmtree(tmp_path / "copies", ignore_errors=True)  # another machine
    fetched = Bundle.open(store.fetch("v1"))
    assert fetched.manifest == small_bundle.manifest
    store.remove("v1")
    assert store.versions() == ["v2"]
    with pytest.raises(BundleError, match="no bundle 'v1'; there are v2"):
        store.fetch("v1")


def test_folder_without_a_manifest_yet_is_no_bundle(store: Store, small_bundle: Bundle) -> None:
    shutil.copytree(small_bundle.folder, store.work_folder() / "v1")
    (store.work_folder() / "v1" / "manifest.json").unlink()
    store.add("v1")
    assert store.versions() == []


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_damaged_copy_is_fetched_anew(store: Store, small_bundle: Bundle) -> None:
    put(store, small_bundle, "v1")
    damaged = store.fetch("v1") / "vectors.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    Bundle.open(store.fetch("v1"))
    assert damaged.read_bytes() == (small_bundle.folder / "vectors.npy").read_bytes()


@pytest.mark.usefixtures("s3")
def test_missing_bucket_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"s3://nowhere/bundles/CURRENT: .*NoSuchBucket"):
        storage.open_store("s3://nowhere/bundles", str(tmp_path)).read("CURRENT")


def test_storage_that_cannot_swap_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="gs://bucket/bundles: expected a folder or one of s3://, s3a://"):
        storage.open_store("gs://bucket/bundles", str(tmp_path))
