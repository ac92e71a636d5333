import gzip
import hashlib
import json
import re
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from conf.loader import load_settings
from conf.settings import Settings, with_changes
from jobs.errors import JobError
from jobs.sources import simulate
from jobs.sources.simulator.simulated_catalogue import build_catalogue
from jobs.sources.simulator.simulated_delivery import MALFORMATIONS, Delivery
from jobs.sources.simulator.simulated_sessions import Guide
from jobs.sources.simulator.simulated_users import build_users

EVENT_TYPES = {"impression", "detail_view", "clickout", "watchlist_add", "seen", "like", "dislike", "rating"}
SMALL = {
    "simulate.users": 300,
    "simulate.titles": 200,
    "simulate.days": 3,
    "simulate.releases_per_day": 2.0,
    "simulate.late_share": 0.05,
    "simulate.duplicated_share": 0.04,
    "simulate.malformed_share": 0.03,
}


def make(out: Path, **changes: Any) -> Path:
    simulate.simulate(settings_with(**changes), out)
    return out


def settings_with(**changes: Any) -> Settings:
    dotted = {("seed" if key == "seed" else f"simulate.{key}"): value for key, value in changes.items()}
    return with_changes(load_settings(), SMALL | dotted)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_lines(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).splitlines()


def read_rows(out: Path, feed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted((out / feed).glob("*.jsonl.gz")) for line in read_lines(path)]


def feed_days(out: Path) -> Iterator[tuple[date, list[bytes]]]:
    for folder in sorted((out / "events").iterdir()):
        lines = [line for path in sorted(folder.glob("*.jsonl.gz")) for line in read_lines(path)]
        yield date.fromisoformat(folder.name.removeprefix("event_date=")), lines


def parse(line: bytes) -> dict[str, Any] | None:
    """The event on a line, or None for one that breaks the format of docs/data.md."""
    try:
        event = json.loads(line.decode("utf-8"))
        datetime.fromisoformat(event["event_time"])
    except (ValueError, KeyError):
        return None
    is_event = (
        isinstance(event.get("user_id"), str)
        and isinstance(event.get("title_id"), int)
        and event["title_id"] < 2**63
        and event.get("event_type") in EVENT_TYPES
        and re.fullmatch("[A-Z]{2}", event["country"])
    )
    return event if is_event else None


def read_events(out: Path) -> list[dict[str, Any]]:
    """Valid events, each once."""
    events = (parse(line) for _, lines in feed_days(out) for line in lines)
    return list({event["event_id"]: event for event in events if event}.values())


class World(NamedTuple):
    out: Path
    events: list[dict[str, Any]]
    users: dict[str, dict[str, Any]]
    titles: dict[int, dict[str, Any]]
    feed: list[dict[str, Any]]

    def affinities(self, events: list[dict[str, Any]]) -> np.ndarray:
        user_tastes = np.array([self.users[event["user_id"]]["taste"] for event in events])
        title_tastes = np.array([self.titles[event["title_id"]]["taste"] for event in events])
        return np.sum(user_tastes * title_tastes, axis=1)

    def of_type(self, *event_types: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event_type"] in event_types]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The default simulation, as `python -m jobs.sources.simulate` makes it."""
    out = tmp_path_factory.mktemp("world")
    simulate.simulate(load_settings(), out)
    users = {row["user_id"]: row for row in pq.read_table(out / "truth" / "users.parquet").to_pylist()}
    titles = {row["title_id"]: row for row in pq.read_table(out / "truth" / "titles.parquet").to_pylist()}
    return World(out, read_events(out), users, titles, read_rows(out, "titles"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("small"))


# --- the same every time


def test_same_seed_gives_same_bytes(small: Path, tmp_path: Path) -> None:
    assert digests(make(tmp_path)) == digests(small)


def test_another_seed_gives_another_world(small: Path, tmp_path: Path) -> None:
    ours, theirs = digests(small), digests(make(tmp_path, seed=7))
    same = {name for name in ours.keys() & theirs.keys() if ours[name] == theirs[name]}
    # Files without random draws may agree.
    assert same == {"erasures/erasures.jsonl.gz", "truth/position_bias.json"}


def test_more_days_leave_the_first_days_as_they_are(small: Path, tmp_path: Path) -> None:
    longer = make(tmp_path, days=6)
    first_days = digests(small / "events")
    folders = {name.split("/")[0] for name in first_days}
    assert folders == {"event_date=2024-05-01", "event_date=2024-05-02", "event_date=2024-05-03"}
    of_longer = digests(longer / "events")
    assert {name: digest for name, digest in of_longer.items() if name.split("/")[0] in folders} == first_days
    assert {name.split("/")[0] for name in of_longer} == {f"event_date=2024-05-0{day}" for day in range(1, 7)}


def test_more_days_leave_titles_and_users_as_they_are(small: Path, tmp_path: Path) -> None:
    longer = make(tmp_path, days=6)
    for feed in ("titles", "consents"):
        shorter_rows, longer_rows = read_rows(small, feed), read_rows(longer, feed)
        assert longer_rows[: len(shorter_rows)] == shorter_rows
        assert len(longer_rows) > len(shorter_rows)
    posters = digests(small / "posters")
    assert posters.items() <= digests(longer / "posters").items()


def test_an_earlier_simulation_leaves_nothing_behind(small: Path, tmp_path: Path) -> None:
    make(tmp_path, days=6, titles=260, seed=7)
    assert digests(make(tmp_path)) == digests(small)


@pytest.mark.parametrize("entry", ["events", "posters", "notes"])
def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path, entry: str) -> None:
    (tmp_path / entry).mkdir()
    (tmp_path / entry / "mine").write_text("keep")
    with pytest.raises(JobError, match=f"expected .*earlier simulation.*found .*{entry}"):
        make(tmp_path)
    assert digests(tmp_path) == {f"{entry}/mine": hashlib.sha256(b"keep").hexdigest()}


def test_more_announced_than_titles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"simulate\.titles is 200"):
        make(tmp_path / "out", releases_per_day=20.0)
    assert not (tmp_path / "out").exists()


def test_command_writes_to_out_and_says_where_the_truth_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "feeds"
    changes = [f"--set={key}={value}" for key, value in SMALL.items()]
    assert simulate.main(["--out", str(out), *changes]) == 0
    answer = capsys.readouterr().out
    assert f"{out}/truth" in answer
    assert "2024-05-01 to 2024-05-03" in answer
    written = Counter(event["event_type"] for event in read_events(out))
    # At most about 3 % are malformed and 5 % not delivered yet.
    for event_type, count in re.findall(r"^  (\w+) +([\d,]+)$", answer, re.MULTILINE):
        assert 0.8 * int(count.replace(",", "")) <= written[event_type] <= int(count.replace(",", ""))


def test_command_refuses_object_storage(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.main(["--set=feeds.root=s3a://bucket/feeds"]) == 1
    assert "expected a local folder" in capsys.readouterr().err


# --- delivery


def test_feed_counts_are_what_the_files_hold(small: Path) -> None:
    counted = {}
    delivered: dict[str, bytes] = {}
    for feed_date, lines in feed_days(small):
        count = {"lines": len(lines), "malformed": 0, "duplicates": 0, "late": 0}
        by_event_date: Counter[str] = Counter()
        for line in lines:
            event = parse(line)
            if event is None:
                count["malformed"] += 1
            elif event["event_id"] in delivered:
                count["duplicates"] += 1
                assert line == delivered[event["event_id"]]
            else:
                delivered[event["event_id"]] = line
                by_event_date[event["event_time"][:10]] += 1
                count["late"] += date.fromisoformat(event["event_time"][:10]) < feed_date
        counted[feed_date.isoformat()] = count | {"events_by_event_date": dict(by_event_date)}
    assert counted == json.loads((small / "truth" / "feed_counts.json").read_text())


def test_shares_of_late_copied_and_malformed_are_as_set(small: Path) -> None:
    counts = list(json.loads((small / "truth" / "feed_counts.json").read_text()).values())
    first, last = counts[0], counts[-1]
    # Of the first day's lines, 3 % are malformed; of 97 % left, 4 % are copied, half of those for the same day.
    assert first["malformed"] / first["lines"] == pytest.approx(0.03, rel=0.3)
    assert first["duplicates"] / first["lines"] == pytest.approx(0.02 * 0.97, rel=0.4)
    # 1 of 3 late lines comes after one day and 1 of 3 after two: the third day has of both days before.
    assert last["late"] / first["lines"] == pytest.approx(0.05 * 2 / 3, rel=0.4)


def test_late_events_come_one_to_max_days_late_after(tmp_path: Path) -> None:
    out = make(tmp_path, days=5, max_days_late=2, duplicated_share=0.0)
    delays = Counter(
        (feed_date - date.fromisoformat(event["event_time"][:10])).days
        for feed_date, lines in feed_days(out)
        for event in map(parse, lines)
        if event
    )
    assert set(delays) == {0, 1, 2}


def test_every_kind_of_malformed_line_is_broken() -> None:
    line = (
        b'{"event_id":"20240501-0","user_id":"u1","country":"US","title_id":5,"event_type":"like",'
        b'"event_time":"2024-05-01T10:00:00.000Z"}'
    )
    assert parse(line) is not None
    still_events = [kind for kind, spoil in MALFORMATIONS.items() if parse(spoil(line)) is not None]
    assert still_events == []


def test_files_rotate(tmp_path: Path, small: Path) -> None:
    out = make(tmp_path, events_per_file=1000)
    parts = sorted((out / "events" / "event_date=2024-05-01").glob("part-*"))
    lengths = [len(read_lines(path)) for path in parts]
    assert len(lengths) > 1
    assert lengths[:-1] == [1000] * (len(lengths) - 1)
    together = [line for path in parts for line in read_lines(path)]
    assert together == read_lines(small / "events" / "event_date=2024-05-01" / "part-00000.jsonl.gz")


def test_a_day_without_events_has_its_folder(tmp_path: Path) -> None:
    out = make(tmp_path, sessions_per_user_day=1e-9)
    assert [(day.isoformat(), lines) for day, lines in feed_days(out)] == [
        ("2024-05-01", []),
        ("2024-05-02", []),
        ("2024-05-03", []),
    ]


def test_memory_does_not_grow_with_events(tmp_path: Path) -> None:
    def peak_and_events(sessions_per_user_day: float) -> tuple[int, int]:
        settings = settings_with(days=1, users=200, new_users_per_day=0.0, sessions_per_user_day=sessions_per_user_day)
        plan = settings.simulate
        catalogue, users = build_catalogue(settings.seed, plan), build_users(settings.seed, plan)
        guide = Guide(settings.seed, plan, catalogue, users)
        delivery = Delivery(tmp_path / str(sessions_per_user_day), settings.seed, plan, users, catalogue)
        tracemalloc.start()
        delivery.write_day(0, guide.day(0))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak, int(delivery.events_by_type.sum())

    peak, events = peak_and_events(12.0)
    peak_of_more, more_events = peak_and_events(48.0)
    assert more_events > 3.5 * events
    assert more_events > 70_000  # at 200 bytes a line 14 MB, were they all held
    assert peak_of_more < 1.3 * peak


# --- fields and times of events


def test_every_event_type_appears_with_its_fields(world: World) -> None:
    fields = {
        "impression": {"surface", "variant", "recommender_version", "rank"},
        "detail_view": {"surface", "variant", "recommender_version", "rank"},
        "clickout": {"provider_id"},
        "rating": {"rating"},
    }
    always = {"event_id", "user_id", "title_id", "event_type", "event_time", "country"}
    field_sets = defaultdict(set)
    for event in world.events:
        field_sets[event["event_type"]].add(frozenset(event))
    assert field_sets == {event_type: {frozenset(always | fields.get(event_type, set()))} for event_type in EVENT_TYPES}
    ratings = {event["rating"] for event in world.of_type("rating")}
    assert ratings <= {half / 2 for half in range(1, 11)}
    assert len(ratings) >= 8


def test_users_see_a_title_before_they_act_on_it(world: World) -> None:
    first_seen: dict[tuple[str, int, str], str] = {}
    for event in world.events:
        key = (event["user_id"], event["title_id"], event["event_type"])
        first_seen[key] = min(event["event_time"], first_seen.get(key, "9"))
    orphans = []
    for (user_id, title_id, event_type), at in first_seen.items():
        needs = {"impression": None, "detail_view": "impression"}.get(event_type, "detail_view")
        if needs and first_seen.get((user_id, title_id, needs), "9") > at:
            orphans.append((event_type, user_id, title_id))
    # An earlier event may be one of the 0.2 % malformed ones or of the late ones not delivered yet.
    assert len(orphans) < 0.005 * len(first_seen)


def test_no_event_before_release_nor_before_joining(world: World) -> None:
    released = {row["title_id"]: row["release_date"] for row in world.feed}
    joined = {user_id: user["joined_date"].isoformat() for user_id, user in world.users.items()}
    assert [event for event in world.events if event["event_time"][:10] < released[event["title_id"]]] == []
    assert [event for event in world.events if event["event_time"][:10] < joined[event["user_id"]]] == []
    # The above proves something only if titles are released and users join during the simulation, and both are active.
    with_events = {event["title_id"] for event in world.events}
    assert len([title_id for title_id in with_events if released[title_id] > "2024-05-01"]) > 20
    assert (
        len([user_id for user_id in {event["user_id"] for event in world.events} if joined[user_id] > "2024-05-01"])
        > 20
    )


def test_titles_are_announced_before_release(world: World) -> None:
    last_day = date(2024, 5, 14)
    release_dates = [date.fromisoformat(row["release_date"]) for row in world.feed]
    days_ahead = [(release_date - last_day).days for release_date in release_dates if release_date > last_day]
    assert len(days_ahead) > 50  # 21 days of 4
    assert max(days_ahead) <= 21
    assert len({row["title"] for row in world.feed}) == len(world.feed)


def test_clickouts_lead_to_offers(world: World) -> None:
    offers = {(row["title_id"], row["country"], row["provider_id"]) for row in read_rows(world.out, "offers")}
    clickouts = {(event["title_id"], event["country"], event["provider_id"]) for event in world.of_type("clickout")}
    assert clickouts <= offers
    released = {row["title_id"] for row in world.feed if row["release_date"] <= "2024-05-14"}
    assert {title_id for title_id, _, _ in offers} <= released


def test_users_do_not_consume_a_title_again_soon(world: World) -> None:
    consumed = defaultdict(list)
    for event in sorted(world.of_type("clickout"), key=lambda event: event["event_time"]):
        consumed[event["user_id"]].append(event["title_id"])
    of_few = [titles for titles in consumed.values() if len(titles) < 8]
    assert sum(map(len, of_few)) > 1000
    assert [titles for titles in of_few if len(set(titles)) < len(titles)] == []


def test_evenings_and_weekends_are_busy(world: World) -> None:
    times = [datetime.fromisoformat(event["event_time"]) for event in world.of_type("impression")]
    per_day = Counter(time.date() for time in times)
    weekend = [count for day, count in per_day.items() if day.weekday() >= 5]
    midweek = [count for day, count in per_day.items() if day.weekday() in (1, 2)]
    assert min(weekend) > max(midweek)
    british = Counter(
        datetime.fromisoformat(event["event_time"]).astimezone(UTC).hour
        for event in world.of_type("impression")
        if event["country"] == "GB"
    )
    assert british[20] > 4 * british[4]


def test_consents_are_partly_known(world: World) -> None:
    consents = read_rows(world.out, "consents")
    assert len({row["user_id"] for row in consents}) == len(consents)
    assert {row["user_id"] for row in consents} < set(world.users)
    hashes = [row["hashed_email"] for row in consents if "hashed_email" in row]
    assert all(re.fullmatch("[0-9a-f]{64}", hashed) for hashed in hashes)
    assert len(set(hashes)) == len(hashes)
    assert 0 < len(hashes) < len(consents)
    assert {row["marketing"] for row in consents} == {True, False}


# --- the truth is in the events


def test_users_like_what_fits_their_taste(world: World) -> None:
    explored = [event for event in world.of_type("impression") if event["variant"] == "explore"]
    best = [event for event in world.of_type("rating") if event["rating"] == 5.0]
    shown = world.affinities(explored).mean()
    assert world.affinities(world.of_type("like")).mean() > shown + 0.3
    assert world.affinities(best).mean() > shown + 0.3
    assert world.affinities(world.of_type("dislike")).mean() < shown


def test_activity_has_a_heavy_tail(world: World) -> None:
    counts = np.sort([*Counter(event["user_id"] for event in world.of_type("impression")).values()])[::-1]
    assert counts[: len(world.users) // 10].sum() > 0.3 * counts.sum()


def share_of_top_titles(out: Path) -> float:
    """Share of impressions that the most shown 5 % of titles have."""
    counts = Counter(event["title_id"] for event in read_events(out) if event["event_type"] == "impression")
    top = len(read_rows(out, "titles")) // 20
    return sum(count for _, count in counts.most_common(top)) / sum(counts.values())


def test_feedback_concentrates_impressions(world: World, tmp_path: Path) -> None:
    without, full = (
        share_of_top_titles(make(tmp_path / str(feedback), popularity_feedback=feedback)) for feedback in (0.0, 1.0)
    )
    assert without < 0.15
    assert full > 2 * without
    assert share_of_top_titles(world.out) > 0.2  # 5 % of titles: a long tail at the default, too


def test_gems_are_shown_rarely_and_liked_by_their_best_users(world: World) -> None:
    gems = pq.read_table(world.out / "truth" / "gems.parquet").to_pylist()
    assert {gem["title_id"] for gem in gems} == {id for id, title in world.titles.items() if title["is_gem"]}
    best = {(user_id, gem["title_id"]) for gem in gems for user_id in gem["best_users"]}
    impressions = Counter(event["title_id"] for event in world.of_type("impression"))
    released = [id for id, title in world.titles.items() if title["release_date"] <= date(2024, 5, 1)]
    of_gems = np.mean([impressions[id] for id in released if world.titles[id]["is_gem"]])
    of_others = np.mean([impressions[id] for id in released if not world.titles[id]["is_gem"]])
    assert of_gems < 0.3 * of_others

    def like_rate(pairs: set[tuple[str, int]] | None) -> float:
        kept = [event for event in world.events if pairs is None or (event["user_id"], event["title_id"]) in pairs]
        types = Counter(event["event_type"] for event in kept)
        assert types["impression"] > 100
        return types["like"] / types["impression"]

    assert like_rate(best) > 2.5 * like_rate(None)


def correlation_of_rank_and_popularity(world: World, variant: str) -> float:
    shown = [event for event in world.of_type("impression") if event["variant"] == variant]
    popularity = np.log([world.titles[event["title_id"]]["popularity"] for event in shown])
    return float(np.corrcoef([event["rank"] for event in shown], popularity)[0, 1])


def test_explored_ranks_do_not_depend_on_popularity(world: World) -> None:
    explored = sum(event["variant"] == "explore" for event in world.of_type("impression"))
    # Three standard errors of a correlation of independent draws.
    assert abs(correlation_of_rank_and_popularity(world, "explore")) < 3 / explored**0.5
    assert correlation_of_rank_and_popularity(world, "control") < -0.05
    assert explored / len(world.of_type("impression")) == pytest.approx(0.05, abs=0.015)


def test_explored_clicks_fall_with_rank_as_in_the_truth(world: World) -> None:
    bias = json.loads((world.out / "truth" / "position_bias.json").read_text())
    explored = [event for event in world.events if event.get("variant") == "explore"]
    shown, viewed = (
        Counter(event["rank"] for event in explored if event["event_type"] == event_type)
        for event_type in ("impression", "detail_view")
    )

    def view_rate(ranks: range) -> float:
        return sum(viewed[rank] for rank in ranks) / sum(shown[rank] for rank in ranks)

    def examined(ranks: range) -> float:
        return float(np.mean([bias[str(rank)] for rank in ranks]))

    high, low = range(1, 4), range(7, 13)
    assert view_rate(low) / view_rate(high) == pytest.approx(examined(low) / examined(high), rel=0.25)


# --- metadata carries taste


def words(text: str | None) -> list[str]:
    return re.findall("[a-z-]+", (text or "").lower())


def held_out_r2(features: np.ndarray, tastes: np.ndarray, penalty: float) -> float:
    """Share of the variance of tastes [titles, dim] that a ridge regression explains in the last fifth of the rows."""
    cut = len(tastes) * 4 // 5
    mean, taste_mean = features[:cut].mean(axis=0), tastes[:cut].mean(axis=0)
    known, target = features[:cut] - mean, tastes[:cut] - taste_mean
    weights = np.linalg.solve(known.T @ known + penalty * np.eye(features.shape[1]), known.T @ target)
    errors = tastes[cut:] - taste_mean - (features[cut:] - mean) @ weights
    return float(1 - (errors**2).sum() / ((tastes[cut:] - taste_mean) ** 2).sum())


def bags(rows: list[list[str]]) -> np.ndarray:
    position = {word: index for index, word in enumerate(sorted({word for row in rows for word in row}))}
    counts = np.zeros((len(rows), len(position)))
    for index, row in enumerate(rows):
        np.add.at(counts[index], [position[word] for word in row], 1)
    return counts


def test_labels_and_plots_carry_taste(world: World) -> None:
    tastes = np.array([world.titles[row["title_id"]]["taste"] for row in world.feed])
    labels = bags([row["genres"] + row["themes"] for row in world.feed])
    plots = bags([words(row["plot"]) for row in world.feed])
    credits = bags([row["cast"] + row["directors"] for row in world.feed])
    r2 = {
        "labels": held_out_r2(labels, tastes, 10.0),
        "plots": held_out_r2(plots, tastes, 30.0),
        "all": held_out_r2(np.hstack([labels, plots, credits]), tastes, 10.0),
    }
    assert r2["labels"] > 0.45
    assert r2["plots"] > 0.4
    assert r2["labels"] + 0.03 < r2["all"] < 0.95  # each adds to the others, and some of it stays unknown
    shuffled = np.random.default_rng(0).permutation(tastes)
    assert held_out_r2(labels, shuffled, 10.0) < 0.05


def test_posters_carry_taste(world: World) -> None:
    with_poster = [row for row in world.feed if row["poster"]]
    assert {row["poster"] for row in with_poster} == {path.name for path in (world.out / "posters").iterdir()}
    tastes = np.array([world.titles[row["title_id"]]["taste"] for row in with_poster])
    grids = []
    for row in with_poster:
        with Image.open(world.out / "posters" / row["poster"]) as image:
            assert image.size == (64, 96)
            # Mean colours of 2 x 3 fields.
            grids.append(np.asarray(image, np.float64).reshape(3, 32, 2, 32, 3).mean(axis=(1, 3)).ravel() / 255)
    r2 = held_out_r2(np.array(grids), tastes, 0.1)
    assert r2 > 0.35


@pytest.mark.parametrize(("field", "share"), [("plot", 0.05), ("poster", 0.1)])
def test_missing_metadata_says_nothing_of_popularity(world: World, field: str, share: float) -> None:
    is_missing = np.array([row[field] is None for row in world.feed])
    assert is_missing.mean() == pytest.approx(share, rel=0.4)
    log_popularity = np.log([world.titles[row["title_id"]]["popularity"] for row in world.feed])
    assert abs(np.corrcoef(is_missing, log_popularity)[0, 1]) < 3 / len(world.feed) ** 0.5
