"""Load on the server from its own process: repeat requests and compare each response with the expected one.

`python -m benchmarks.swaps_bench.load FILE`: FILE is JSON with the port, the number of connections, the
requests, and the expected response to each by bundle version. Ends when standard input does; prints one JSON object.
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

_TOLERANCE = 1e-4  # of a score: rounding depends on the order of sums


@dataclass
class LoadResult:
    """Responses and errors of one connection, or of all of them."""

    answers: Counter[str] = field(default_factory=Counter)  # by bundle version
    errors: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)

    def add(self, other: "LoadResult") -> None:
        self.answers.update(other.answers)
        for name in ("errors", "mixed", "ms"):
            getattr(self, name).extend(getattr(other, name))


def is_of(answer: Mapping[str, Any], expected: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """True if an answer's items are those of the bundle it names; `expected` holds items by version."""
    items = expected.get(answer["bundle_version"])
    if items is None or len(items) != len(answer["items"]):
        return False
    return all(
        (left["title_id"], left["title"]) == (right["title_id"], right["title"])
        and math.isclose(left["score"], right["score"], abs_tol=_TOLERANCE)
        for left, right in zip(answer["items"], items, strict=True)
    )


def send_until(
    port: int, requests: Sequence[Any], expected: Sequence[Mapping[str, Any]], stop: threading.Event
) -> LoadResult:
    """Send requests over one connection until `stop` is set; `expected` [requests]."""
    result = LoadResult()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    bodies = [json.dumps(request) for request in requests]
    while not stop.is_set():
        for body, expected_items in zip(bodies, expected, strict=True):
            started = time.perf_counter()
            try:
                connection.request("POST", "/recommend", body, {"content-type": "application/json"})
                response = connection.getresponse()
                data = response.read()
            except (OSError, http.client.HTTPException) as error:
                result.errors.append(repr(error))
                connection.close()
                continue
            result.ms.append(1000 * (time.perf_counter() - started))
            if response.status != 200:
                result.errors.append(f"{response.status}: {data[:200]!r}")
                continue
            answer = json.loads(data)
            result.answers[answer["bundle_version"]] += 1
            if not is_of(answer, expected_items):
                result.mixed.append(data.decode()[:500])
    connection.close()
    return result


@dataclass(frozen=True)
class Load:
    """Requests and expected responses; see the module's docstring."""

    port: int
    connections: int
    requests: Sequence[Any]
    expected: Sequence[Mapping[str, Any]]

    def run(self, stop: threading.Event) -> LoadResult:
        """Send requests over all connections; returns their results together."""
        parts = [LoadResult() for _ in range(self.connections)]

        def send(n: int) -> None:
            parts[n] = send_until(self.port, self.requests, self.expected, stop)

        threads = [threading.Thread(target=send, args=(n,)) for n in range(self.connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        total = LoadResult()
        for part in parts:
            total.add(part)
        return total


def main(argv: Sequence[str]) -> int:
    load = Load(**json.loads(Path(argv[0]).read_text(encoding="utf-8")))
    stop = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait, daemon=True).start()
    print(json.dumps(vars(load.run(stop))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
