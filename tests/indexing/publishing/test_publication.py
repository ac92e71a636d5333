"""Publish, roll back, keep the live bundle: readers get one bundle or the other, and of two publishers one fails."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from indexing.bundle.bundle import Bundle
from indexing.errors import BundleError
from indexing.publishing import pointer, publication
from indexing.publishing.storage import LocalStore, Store

A, B, C = "20240514T000000Z-m7", "20240515T000000Z-m8", "20240516T000000Z-m8"


@pytest.fixture
def store(tmp_path: Path, small_bundle: Bundle, other_bundle: Bundle) -> LocalStore:
    """Bundles A and B, of two models, and C, which is B under another name."""
    for version, bundle in ((A, small_bundle), (B, other_bundle), (C, other_bundle)):
        shutil.copytree(bundle.folder, tmp_path / version)
    return LocalStore(tmp_path)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the check of the bundle's content, which takes seconds and is not tested here."""
    monkeypatch.setattr(publication, "check", lambda bundle: bundle)


def answers(store: Store) -> list[list[int]]:
    """Title ids that the live bundle recommends for five fixed queries."""
    live = publication.open_live(store)
    queries = np.random.default_rng(0).normal(size=(5, 14)).astype("f")
    return live.title_ids[live.search(queries, 20)[0]].tolist()


def live(store: Store) -> str:
    return publication.live_entry(store).version


def test_answers_are_the_same_after_publish_and_rollback(store: LocalStore) -> None:
    with pytest.raises(BundleError, match=r"nothing is published; run indexing\.build"):
        answers(store)
    publication.publish(store, A)
    before = answers(store)
    publication.publish(store, B)
    assert answers(store) != before
    publication.roll_back(store, None)
    assert live(store) == A
    assert answers(store) == before
    current = pointer.read(store)
    assert current is not None
    assert [(entry.sequence, entry.version, entry.action) for entry in (current.live, *current.history)] == [
        (3, A, "rollback"),
        (2, B, "publish"),
        (1, A, "publish"),
    ]


@pytest.mark.usefixtures("unchecked")
def test_second_rollback_goes_back_further(store: LocalStore) -> None:
    for version in (A, B, C):
        publication.publish(store, version)
    assert publication.roll_back(store, None).live.version == B
    assert publication.roll_back(store, None).live.version == A
    with pytest.raises(BundleError, match=f"no bundle was live before {A}"):
        publication.roll_back(store, None)
    assert publication.roll_back(store, C).live.version == C


@pytest.mark.usefixtures("unchecked")
def test_newest_bundle_is_published_by_default_and_only_once(store: LocalStore) -> None:
    assert publication.publish(store, None).live.version == C
    assert publication.publish(store, None).live.sequence == 1


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("version", "message"), [(B, "is live already"), (C, "was never live; those that were: ")])
def test_rollback_leads_only_to_bundles_that_were_live(store: LocalStore, version: str, message: str) -> None:
    publication.publish(store, A)
    publication.publish(store, B)
    with pytest.raises(BundleError, match=message):
        publication.roll_back(store, version)
    assert live(store) == B


@pytest.mark.usefixtures("unchecked")
def test_damaged_bundle_is_not_published(store: LocalStore, tmp_path: Path) -> None:
    publication.publish(store, A)
    (tmp_path / B / "countries.json").write_text("{}")
    with pytest.raises(BundleError, match=r"countries\.json has 2 bytes"):
        publication.publish(store, B)
    assert live(store) == A


@pytest.mark.usefixtures("unchecked")
def test_bundle_that_was_replaced_under_its_name_is_refused(store: LocalStore, tmp_path: Path) -> None:
    publication.publish(store, A)
    shutil.rmtree(tmp_path / A)
    shutil.copytree(tmp_path / B, tmp_path / A)
    with pytest.raises(BundleError, match="this is not the bundle that was published"):
        publication.open_live(store)


@pytest.mark.usefixtures("unchecked")
def test_of_two_publishers_the_second_fails(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    publication.publish(store, A)
    check = publication.check

    def slow(bundle: Bundle) -> object:
        # While this one verifies B, another publishes C.
        monkeypatch.setattr(publication, "check", check)
        publication.publish(store, C)
        return check(bundle)

    monkeypatch.setattr(publication, "check", slow)
    with pytest.raises(BundleError, match=f"{B} was not made live, .* {C} by publish 2 is live now"):
        publication.publish(store, B)
    current = pointer.read(store)
    assert current is not None
    assert [entry.version for entry in (current.live, *current.history)] == [C, A]


def test_pointer_of_another_schema_is_refused(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "CURRENT").write_text('{"schema_version": 2}')
    with pytest.raises(BundleError, match="is no pointer of schema 1"):
        publication.open_live(store)


def name(store: LocalStore, tmp_path: Path, *versions: str) -> None:
    """Folders that count as bundles by their names alone."""
    for version in versions:
        (tmp_path / version).mkdir()
        (tmp_path / version / "manifest.json").touch()


@pytest.mark.usefixtures("unchecked")
def test_old_bundles_go_but_never_the_live_one(store: LocalStore, tmp_path: Path) -> None:
    name(store, tmp_path, "20240101T000000Z-m1", "20240201T000000Z-m2", "20240501T000000Z-m3", "by-hand")
    publication.publish(store, A)
    now = datetime(2024, 7, 1, tzinfo=UTC)
    # The newest two by name are C and by-hand; A is live; m3 is 61 days old, younger than 90.
    assert publication.remove_old(store, 2, 90, now) == ["20240101T000000Z-m1", "20240201T000000Z-m2"]
    assert publication.remove_old(store, 2, 0, now) == ["20240501T000000Z-m3", B]
    assert store.versions() == [A, C, "by-hand"]
    assert live(store) == A


def test_nothing_is_removed_before_anything_is_published(store: LocalStore) -> None:
    assert publication.remove_old(store, 1, 0) == []
    assert store.versions() == [A, B, C]


def test_unfinished_bundle_of_a_killed_writer_goes_after_a_day(store: LocalStore, tmp_path: Path) -> None:
    old, new = tmp_path / ".unfinished-v1-abc", tmp_path / ".unfinished-v2-abc"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (0, 0))
    publication.remove_old(store, 1, 0)
    assert not old.exists()
    assert new.exists()


def test_name_of_a_bundle_says_when_it_was_built() -> None:
    moment = datetime(2024, 5, 14, 3, 15, tzinfo=UTC)
    assert publication.name_version(7, moment) == "20240514T031500Z-m7"
    assert publication.built_at("20240514T031500Z-m7") == moment
    assert publication.built_at("by-hand") is None
