"""Expected rows of the tables of interactions, by simple loops over staged events: slow, no code shared with jobs.

Events are dicts as rows of stg_events, with aware times. Written from the definitions alone: it imports nothing from
jobs/, continues from no earlier day, and computes every row from all events anew.
"""

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

Event = Mapping[str, Any]
OPINIONS = ("like", "dislike", "rating")
ALL = "*"


@dataclass(frozen=True)
class Rules:
    """The settings that the definitions name."""

    weights: Mapping[str, float]  # of an event type; one that is absent or 0 makes no interaction
    rating_neutral: float
    max_rating: float
    positive_min_weight: float
    max_titles: int
    history_titles: int


class Interaction(NamedTuple):
    """A row of `interactions`, its columns in order."""

    user_id: str
    title_id: int
    ds: date
    known_ds: date
    weight: float
    is_opinion: bool
    first_event_time: datetime
    last_event_time: datetime
    country: str
    count_events: int


class Entry(NamedTuple):
    """An entry of a history, its fields in order."""

    event_time: datetime
    title_id: int
    weight: float
    is_opinion: bool
    country: str


def float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


def known_ds(event: Event) -> date:
    return max(event["ds"], event["feed_date"])


def is_late(event: Event) -> bool:
    return bool(event["feed_date"] > event["ds"])


def event_weight(event: Event, rules: Rules) -> float | None:
    """The weight of an event; None for one that makes no interaction."""
    if event["event_type"] == "rating":
        return float32((event["rating"] - rules.rating_neutral) / (rules.max_rating - rules.rating_neutral))
    weight = rules.weights.get(event["event_type"], 0.0)
    return float32(weight) if weight else None


def interactions(events: Iterable[Event], rules: Rules) -> list[Interaction]:
    """One per user, title, day and day from which it is known."""
    groups: dict[tuple[str, int, date, date], list[Event]] = {}
    for event in events:
        if event_weight(event, rules) is not None:
            key = (event["user_id"], event["title_id"], event["ds"], known_ds(event))
            groups.setdefault(key, []).append(event)
    rows = []
    for key, group in groups.items():
        ordered = sorted(group, key=lambda event: (event["event_time"], event["event_id"]))
        opinions = [event for event in ordered if event["event_type"] in OPINIONS]
        if opinions:
            weight = event_weight(opinions[-1], rules)
        else:
            weight = max(event_weight(event, rules) or 0.0 for event in ordered)
        assert weight is not None
        times = (ordered[0]["event_time"], ordered[-1]["event_time"])
        rows.append(Interaction(*key, weight, bool(opinions), *times, ordered[-1]["country"], len(ordered)))
    return rows


def is_positive(interaction: Interaction | Entry, rules: Rules) -> bool:
    return interaction.weight >= float32(rules.positive_min_weight)


def title_counts(
    interacted: Sequence[Interaction], as_of: date, rules: Rules
) -> dict[tuple[int, str], tuple[int, ...]]:
    """The counts of title_stats per title and country, for titles with an interaction by the end of `as_of`."""
    counts = {}
    keys = {(row.title_id, country) for row in interacted if row.known_ds <= as_of for country in (row.country, ALL)}
    for title_id, country in keys:
        values = []
        for only_positives, window_days in ((False, 10_000), (True, 1), (True, 28), (True, 10_000)):
            values.append(
                sum(
                    1
                    for row in interacted
                    if row.title_id == title_id
                    and country in (row.country, ALL)
                    and as_of - timedelta(days=window_days) < row.known_ds <= as_of
                    and (is_positive(row, rules) or not only_positives)
                )
            )
        counts[title_id, country] = tuple(values)
    return counts


def merged(rows: Sequence[Interaction]) -> Entry:
    """The entry of one title. Of two interactions that end at one moment, the one known later counts as the later."""
    ordered = sorted(rows, key=lambda row: (row.last_event_time, row.known_ds))
    opinions = [row for row in ordered if row.is_opinion]
    weight = opinions[-1].weight if opinions else max(row.weight for row in ordered)
    last = ordered[-1]
    return Entry(last.last_event_time, last.title_id, weight, bool(opinions), last.country)


def latest(entries: Iterable[Entry], count: int) -> list[Entry]:
    return sorted(entries, key=lambda entry: (entry.event_time, entry.title_id), reverse=True)[:count]


def remembered(interacted: Sequence[Interaction], as_of: date, max_titles: int) -> dict[int, list[Interaction]]:
    """The interactions behind each title of a user's history at the end of `as_of`.

    `interacted` are those of the user. A title that is cut loses all its earlier interactions.
    """
    titles: dict[int, list[Interaction]] = {}
    for day in sorted({row.known_ds for row in interacted if row.known_ds <= as_of}):
        for row in interacted:
            if row.known_ds == day:
                titles.setdefault(row.title_id, []).append(row)
        kept = latest([merged(rows) for rows in titles.values()], max_titles)
        titles = {entry.title_id: titles[entry.title_id] for entry in kept}
    return titles


def history(interacted: Sequence[Interaction], as_of: date, rules: Rules) -> list[Entry]:
    """The history of the user of the interactions `interacted`, at the end of `as_of`."""
    titles = remembered(interacted, as_of, rules.max_titles)
    return latest([merged(rows) for rows in titles.values()], rules.max_titles)


def known_before(positive: Interaction, interacted: Sequence[Interaction], rules: Rules) -> list[Entry]:
    """The history known just before `positive`, from the user's interactions `interacted`."""
    titles = remembered(interacted, positive.ds - timedelta(days=1), rules.max_titles)
    for row in interacted:
        is_of_that_day = row.ds == positive.ds and row.known_ds == positive.ds
        if is_of_that_day and row.last_event_time < positive.first_event_time:
            titles.setdefault(row.title_id, []).append(row)
    return [merged(rows) for rows in titles.values()]


def sampling_probability(positive: Interaction, interacted: Sequence[Interaction], rules: Rules) -> float:
    """The title's share of what was known the day before, one added for it and one for each title."""
    yesterday = positive.ds - timedelta(days=1)
    known = [row.title_id for row in interacted if is_positive(row, rules) and row.known_ds <= yesterday]
    return float32((known.count(positive.title_id) + 1) / (len(known) + len(set(known)) + 1))


def padded_history(entries: Sequence[Entry], moment: datetime, length: int) -> dict[str, Any]:
    """The columns of a history, the latest first, each list `length` long."""
    cut = latest(entries, length)
    empty = length - len(cut)
    ages = [float32((moment - entry.event_time) / timedelta(days=1)) for entry in cut]
    return {
        "history_title_ids": [entry.title_id for entry in cut] + [-1] * empty,
        "history_weights": [entry.weight for entry in cut] + [0.0] * empty,
        "history_ages_days": ages + [0.0] * empty,
        "history_length": len(cut),
    }


def examples(
    interacted: Sequence[Interaction], days: Collection[date], rules: Rules, held_out: Collection[int] = ()
) -> list[dict[str, Any]]:
    """The rows of training_examples that are known on `days`, without `split`."""
    rows = []
    for row in interacted:
        if row.known_ds not in days or not is_positive(row, rules):
            continue
        of_user = [other for other in interacted if other.user_id == row.user_id]
        entries = known_before(row, of_user, rules)
        if any(entry.title_id == row.title_id and is_positive(entry, rules) for entry in entries):
            continue
        kept = [entry for entry in entries if entry.title_id != row.title_id and entry.title_id not in held_out]
        moment = row.first_event_time
        rows.append(
            {
                **{"user_id": row.user_id, "title_id": row.title_id, "ds": row.ds, "known_ds": row.known_ds},
                **{"event_time": moment, "country": row.country},
                "sampling_probability": sampling_probability(row, interacted, rules),
                **padded_history(kept, moment, rules.history_titles),
            }
        )
    return rows
