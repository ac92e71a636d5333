"""Raw-feed files on a local disk: gzipped JSON lines; the same lines give the same bytes."""

import gzip
import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path

_LINES_PER_WRITE = 10_000


def events_folder(feeds_root: Path, feed_date: date) -> Path:
    """Folder of the events delivered on one day."""
    return feeds_root / "events" / f"event_date={feed_date.isoformat()}"


def write_lines(path: Path, lines: Iterable[bytes]) -> int:
    """Write `lines` (each without its newline) to a gzip file and return how many there were.

    The file gets its name once it is complete, so that a reader never sees half of it; until then its name starts with
    a dot, which Spark ignores. Memory does not grow with the number of lines.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    count = 0
    # No file name and no time in the header, so that bytes depend on the lines alone.
    with unfinished.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as stream:
        chunk: list[bytes] = []
        for line in lines:
            chunk.append(line)
            if len(chunk) == _LINES_PER_WRITE:
                stream.write(b"\n".join(chunk) + b"\n")
                count += len(chunk)
                chunk.clear()
        if chunk:
            stream.write(b"\n".join(chunk) + b"\n")
            count += len(chunk)
    os.replace(unfinished, path)
    return count
