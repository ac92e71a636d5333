"""Delivery of simulated events: lines, some late, copied or malformed, into the feed folders, and counts of them."""

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import chain, count, islice
from pathlib import Path
from typing import IO

import numpy as np

from conf.settings import Simulate
from jobs.sources.feed_files import events_folder, write_lines
from jobs.sources.simulator.simulated_catalogue import SimulatedCatalogue
from jobs.sources.simulator.simulated_sessions import EVENT_TYPES, Events, detail_texts
from jobs.sources.simulator.simulated_users import Users
from jobs.sources.simulator.simulated_world import COUNTRIES, Purpose, stream

_CLOCK = [f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}." for second in range(86_400)]
_MILLISECONDS = [f'{ms:03d}Z"' for ms in range(1000)]
_SPOOL_BYTES = 1 << 20  # kept in memory before lines of another day go to a temporary file


def _replace(pattern: bytes, replacement: bytes) -> Callable[[bytes], bytes]:
    matcher = re.compile(pattern)
    return lambda line: matcher.sub(replacement, line, count=1)


# Ways to make a line invalid; staging must reject each.
MALFORMATIONS: Mapping[str, Callable[[bytes], bytes]] = {
    "truncated JSON": lambda line: line[: len(line) // 2],
    "missing title_id": _replace(rb'"title_id":\d+,', b""),
    "text title_id": _replace(rb'"title_id":(\d+)', rb'"title_id":"tt\1"'),
    "title_id beyond 64 bits": _replace(rb'"title_id":(\d+)', rb'"title_id":\g<1>00000000000000000000'),
    "unknown event type": _replace(rb'"event_type":"\w+"', b'"event_type":"hover"'),
    "impossible time": _replace(rb"T\d\d:\d\d:", b"T25:61:"),
    "null user_id": _replace(rb'"user_id":"\w+"', b'"user_id":null'),
    "invalid UTF-8": _replace(rb'"user_id":"\w', b'"user_id":"\xff\xfe'),
    "empty country": _replace(rb'"country":"\w+"', b'"country":""'),
}


@dataclass
class FeedDay:
    """Counts of the lines in one feed day's folder."""

    lines: int = 0
    malformed: int = 0
    duplicates: int = 0  # lines that copy one of the same or an earlier feed day
    late: int = 0  # events of an earlier day, copies not counted
    events_by_event_date: dict[str, int] = field(default_factory=dict)  # valid, each counted once

    def add_events(self, event_date: date, events: int) -> None:
        """Count valid events of one day that are delivered for the first time."""
        key = event_date.isoformat()
        self.events_by_event_date[key] = self.events_by_event_date.get(key, 0) + events


class Delivery:
    """Writes each day's events to its own feed folder and, where late or copied, to those of the next days."""

    def __init__(self, out: Path, seed: int, simulate: Simulate, users: Users, catalogue: SimulatedCatalogue) -> None:
        self._out = out
        self._seed = seed
        self._simulate = simulate
        self._users = users
        self._title_ids = catalogue.title_ids.tolist()
        self.feed_days = [FeedDay() for _ in range(simulate.days)]
        self.events_by_type = np.zeros(len(EVENT_TYPES), np.int64)

    def date_of(self, day: int) -> date:
        """The calendar day of a simulated day."""
        return self._simulate.first_day + timedelta(days=day)

    def write_day(self, day: int, batches: Iterable[Events]) -> None:
        """Write the events of one day; memory does not grow with their number.

        Events due after the last day are not written.
        """
        with ExitStack() as stack:
            # By days after `day`: held in temporary files, because each feed file is written in one go.
            spools = [
                stack.enter_context(tempfile.SpooledTemporaryFile(_SPOOL_BYTES))
                for _ in range(self._simulate.max_days_late + 2)
            ]
            self._write_parts(day, self._lines_of_day(day, batches, spools))
            for delay, spool in enumerate(spools[1:], start=1):
                if spool.tell() and day + delay < self._simulate.days:
                    target = events_folder(self._out, self.date_of(day + delay))
                    write_lines(target / f"late-from-{self.date_of(day)}.jsonl.gz", _read_lines(spool))

    def _write_parts(self, day: int, lines: Iterator[bytes]) -> None:
        """Files of at most `events_per_file` lines; a day without any has one empty file."""
        folder = events_folder(self._out, self.date_of(day))
        for part in count():
            first = list(islice(lines, 1))
            if part and not first:
                return
            rest = islice(lines, self._simulate.events_per_file - 1)
            write_lines(folder / f"part-{part:05d}.jsonl.gz", chain(first, rest))

    def _lines_of_day(
        self, day: int, batches: Iterable[Events], spools: list["tempfile.SpooledTemporaryFile[bytes]"]
    ) -> Iterator[bytes]:
        """Lines for the day's own folder, copies last; those for later days go to `spools`."""
        rng = stream(self._seed, Purpose.DELIVERY, day)
        details = detail_texts(self._simulate, f"als-{self.date_of(day):%Y%m%d}")
        number = 0
        for events in batches:
            lines = self._format(day, events, number, details)
            number += len(lines)
            self.events_by_type += np.bincount(events.types, minlength=len(EVENT_TYPES))
            yield from self._disturb(day, lines, rng, spools)
        yield from _read_lines(spools[0])

    def _format(self, day: int, events: Events, number: int, details: list[str]) -> list[bytes]:
        """One JSON line per event; f-strings, because json.dumps per row would take most of the time."""
        ids, title_ids, clock, milliseconds = self._users.user_ids, self._title_ids, _CLOCK, _MILLISECONDS
        date_text = self.date_of(day).isoformat()
        prefix = f'{{"event_id":"{self.date_of(day):%Y%m%d}-'
        types = [f',"event_type":"{name}","event_time":"{date_text}T' for name in EVENT_TYPES]
        countries = [f'","country":"{country.code}","title_id":' for country in COUNTRIES]
        seconds, ms = np.divmod(events.times_ms, 1000)
        event_countries = self._users.countries[events.users]
        columns = (events.users, event_countries, events.titles, events.types, seconds, ms, events.details)
        rows = zip(count(number), *(column.tolist() for column in columns), strict=False)
        return [
            f'{prefix}{n:08x}","user_id":"{ids[user]}{countries[country]}{title_ids[title]}{types[event_type]}'
            f"{clock[second]}{milliseconds[ms]}{details[detail]}}}".encode()
            for n, user, country, title, event_type, second, ms, detail in rows
        ]

    def _disturb(
        self,
        day: int,
        lines: list[bytes],
        rng: np.random.Generator,
        spools: list["tempfile.SpooledTemporaryFile[bytes]"],
    ) -> list[bytes]:
        """Lines delivered on time, some of them malformed; late lines and copies go to `spools`, and all count."""
        chance = rng.random((3, len(lines)))
        delays = rng.integers(1, self._simulate.max_days_late + 1, size=len(lines))
        copy_delays = rng.integers(2, size=len(lines))
        kinds = rng.integers(len(MALFORMATIONS), size=len(lines))
        is_malformed = chance[0] < self._simulate.malformed_share
        is_late = ~is_malformed & (chance[1] < self._simulate.late_share)
        is_copied = ~is_malformed & (chance[2] < self._simulate.duplicated_share)
        spoil = list(MALFORMATIONS.values())
        for row in np.flatnonzero(is_malformed).tolist():
            lines[row] = spoil[kinds[row]](lines[row])
        for row in np.flatnonzero(is_copied).tolist():
            delay = int(is_late[row] * delays[row] + copy_delays[row])
            spools[delay].write(lines[row] + b"\n")
            if feed_day := self._feed_day(day + delay):
                feed_day.lines += 1
                feed_day.duplicates += 1
        late = np.flatnonzero(is_late).tolist()
        for row in late:
            delay = int(delays[row])
            spools[delay].write(lines[row] + b"\n")
            if feed_day := self._feed_day(day + delay):
                feed_day.lines += 1
                feed_day.late += 1
                feed_day.add_events(self.date_of(day), 1)
            lines[row] = b""
        today = self.feed_days[day]
        today.lines += len(lines) - len(late)
        today.malformed += int(is_malformed.sum())
        today.add_events(self.date_of(day), len(lines) - len(late) - int(is_malformed.sum()))
        return [line for line in lines if line]

    def _feed_day(self, day: int) -> FeedDay | None:
        return self.feed_days[day] if day < self._simulate.days else None


def _read_lines(spool: "IO[bytes] | tempfile.SpooledTemporaryFile[bytes]") -> Iterator[bytes]:
    spool.seek(0)
    for line in spool:
        yield line.removesuffix(b"\n")
