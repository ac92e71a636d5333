"""Ask the server again and again from a process of its own, and hold every answer against what is expected.

`python -m benchmarks.swaps_load FILE`: FILE is JSON with the port, how many connections ask at once, the requests, and
per bundle version the answer to each. Ends when standard input does, and prints one JSON object.
"""

import http.client
import json
import math
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TOLERANCE = 1e-4  # of a score: sums differ by rounding from one machine's order to another's


@dataclass
class Seen:
    """What one connection, or all of them, saw."""

    answers: Counter[str] = field(default_factory=Counter)  # by bundle version
    errors: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)

    def add(self, other: "Seen") -> None:
        self.answers.update(other.answers)
        for name in ("errors", "mixed", "ms"):
            getattr(self, name).extend(getattr(other, name))


def is_of(answer: Mapping[str, Any], expected: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Whether all of an answer is what the bundle that it names gives; `expected` are items by version."""
    own = expected.get(answer["bundle_version"])
    if own is None or len(own) != len(answer["items"]):
        return False
    return all(
        (left["title_id"], left["title"]) == (right["title_id"], right["title"])
        and math.isclose(left["score"], right["score"], abs_tol=_TOLERANCE)
        for left, right in zip(answer["items"], own, strict=True)
    )


def ask_on_and_on(
    port: int, requests: Sequence[Any], expected: Sequence[Mapping[str, Any]], ended: threading.Event
) -> Seen:
    """One connection's requests until `ended`; `expected` [requests]."""
    seen = Seen()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    bodies = [json.dumps(request) for request in requests]
    while not ended.is_set():
        for body, own in zip(bodies, expected, strict=True):
            started = time.perf_counter()
            try:
                connection.request("POST", "/recommend", body, {"content-type": "application/json"})
                response = connection.getresponse()
                data = response.read()
            except (OSError, http.client.HTTPException) as error:
                seen.errors.append(repr(error))
                connection.close()
                continue
            seen.ms.append(1000 * (time.perf_counter() - started))
            if response.status != 200:
                seen.errors.append(f"{response.status}: {data[:200]!r}")
                continue
            answer = json.loads(data)
            seen.answers[answer["bundle_version"]] += 1
            if not is_of(answer, own):
                seen.mixed.append(data.decode()[:500])
    connection.close()
    return seen


@dataclass(frozen=True)
class Load:
    """What to ask, and what to expect; see the module."""

    port: int
    connections: int
    requests: Sequence[Any]
    expected: Sequence[Mapping[str, Any]]

    def run(self, ended: threading.Event) -> Seen:
        """Of all connections together."""
        parts = [Seen() for _ in range(self.connections)]

        def ask(place: int) -> None:
            parts[place] = ask_on_and_on(self.port, self.requests, self.expected, ended)

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(self.connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        whole = Seen()
        for part in parts:
            whole.add(part)
        return whole


def main(argv: Sequence[str]) -> int:
    load = Load(**json.loads(Path(argv[0]).read_text(encoding="utf-8")))
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    print(json.dumps(vars(load.run(ended))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
