"""Measure the server under load while bundles are swapped and broken bundles are published.

Reads two bundles, folders or versions in <bundles.root>. Works on copies in a temporary folder, with its own server on
a free port of loopback and requests from another process. First the pointer alternates between the bundles, --swaps
times. Then it is set to the bundle that is not served, with one byte flipped in each of its files in turn: the server
must refuse it each time.

Figures are JSON lines on standard output, and a table. Exit code 3 if a request failed, a response holds a title or a
score that is not of the bundle it names, or a broken bundle was served.
"""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.report import Report, reporting
from benchmarks.swaps_bench.load import Load
from conf import command_line
from conf.settings import Settings
from indexing.bundle import bundle
from indexing.bundle.bundle import Bundle
from indexing.publishing import pointer, publication
from indexing.publishing.storage import LocalStore
from jobs.errors import JobError
from serving.retriever import Retriever

_REFRESH_SECONDS = 0.05
_REQUESTS = 20
_WAIT_SECONDS = 120.0


@dataclass(frozen=True)
class Server:
    """A server in its own process."""

    port: int
    process: "subprocess.Popen[str]"

    def health(self) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", "/health")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def wait_for(self, event: str, has_happened: Callable[[Mapping[str, Any]], bool]) -> None:
        """Wait until the server's health shows an event; raises JobError after a time limit."""
        ends = time.monotonic() + _WAIT_SECONDS
        while not has_happened(health := self.health()):
            if time.monotonic() > ends:
                raise JobError(f"the server did not {event} within {_WAIT_SECONDS:.0f} s: {health}")
            time.sleep(0.02)


@contextmanager
def serving(root: Path, log: Path) -> Iterator[Server]:
    """A server on a free port. It gets SIGTERM at the end, and must then end with code 0."""
    changes = {"bundles.root": root, "serving.refresh_seconds": _REFRESH_SECONDS, "serving.refused_retry_seconds": 1e-3}
    overrides = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "serving.server", "--port", "0", *overrides]
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file, stdout=subprocess.DEVNULL, text=True)
    try:
        yield Server(_port_of(log, process), process)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=60)
    if code:
        raise JobError(f"the server ended with code {code} after SIGTERM; see above: {log.read_text()[-2000:]}")


def _port_of(log: Path, process: "subprocess.Popen[str]") -> int:
    """The port from the server's log, once it listens."""
    ends = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        for line in log.read_text().splitlines():
            if "Uvicorn running on" in line:
                return int(json.loads(line)["message"].split("http://")[1].split()[0].rsplit(":", 1)[1])
        time.sleep(0.05)
    raise JobError(f"the server does not listen: {log.read_text()[-2000:]}")


@contextmanager
def sending(load: Load, work: Path) -> Iterator[dict[str, Any]]:
    """Send requests from another process while the block runs; its result is in the dictionary afterwards."""
    spec = work / "load.json"
    spec.write_text(json.dumps(asdict(load)), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.swaps_bench.load", str(spec)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = {}
    try:
        yield result
    finally:
        printed, _ = process.communicate(timeout=_WAIT_SECONDS)
    if process.returncode:
        raise JobError("the process that sends requests failed; see above")
    result.update(json.loads(printed))


def make_load(bundles: Sequence[Bundle], settings: Settings, port: int, connections: int) -> Load:
    """Requests over titles that all bundles have, with the response that each bundle must give."""
    shared = sorted(set(bundles[0].title_ids.tolist()).intersection(*[one.title_ids.tolist() for one in bundles[1:]]))
    random = np.random.default_rng(settings.seed)
    countries = [None, *bundles[0].countries]
    requests = []
    for n in range(_REQUESTS):
        history = random.choice(shared, min(n, len(shared)), replace=False).tolist()
        dial = ("balanced", "popular", "gems")[n % 3]
        known = dial if dial in bundles[0].manifest.dial.settings else 0.0
        requests.append({"history": history, "dial": known, "country": countries[n % len(countries)], "k": 10})
    retrievers = [Retriever(opened, settings.serving) for opened in bundles]
    expected = [
        {
            one.version: [
                {"title_id": item.title_id, "title": item.title, "score": item.score}
                for item in one.recommend(**request).items
            ]
            for one in retrievers
        }
        for request in requests
    ]
    return Load(port, connections, requests, expected)


def alternate(server: Server, store: LocalStore, versions: Sequence[str], swaps: int) -> None:
    """Publish the versions in turn, and wait each time until the server serves the new one."""
    for n in range(swaps):
        version = versions[(n + 1) % len(versions)]
        publication.publish(store, version)
        server.wait_for(f"serve {version}", lambda health, version=version: health["bundle_version"] == version)  # type: ignore[misc]


def break_each_file(server: Server, store: LocalStore, folder: Path) -> tuple[int, list[str]]:
    """Flip a byte of each file in turn and point to the bundle; the number of files, and those not refused."""
    served = server.health()["bundle_version"]
    live = publication.live_entry(store)
    sha256 = bundle.manifest_sha256(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    missed = []
    for path in files:
        good = path.read_bytes()
        middle = len(good) // 2
        path.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
        _point(store, folder.name, sha256)
        server.wait_for(
            "refuse or serve", lambda health: health["refused_version"] or health["bundle_version"] != served
        )
        health = server.health()
        if health["bundle_version"] != served or health["refused_version"] != folder.name:
            missed.append(str(path.relative_to(folder)))
        # Point to the served bundle again before the file is repaired.
        _point(store, live.version, live.manifest_sha256)
        server.wait_for("forget the refused bundle", lambda health: health["refused_version"] is None)
        path.write_bytes(good)
    return len(files), missed


def _point(store: LocalStore, version: str, sha256: str) -> None:
    """Set the pointer without verifying the bundle, which publishing would refuse."""
    pointer.swap(store, pointer.read_tagged(store), version, sha256, "publish")


def measure(settings: Settings, arguments: Namespace, report: Report, work: Path) -> bool:
    """Measure everything; returns False if a request failed or a broken bundle was served."""
    root = work / "bundles"
    sources = [_open(settings, location) for location in arguments.bundles]
    for opened in sources:
        shutil.copytree(opened.folder, root / opened.version)
    versions = [opened.version for opened in sources]
    if len(set(versions)) < len(versions):
        raise JobError(f"expected two bundles of different versions, found {versions}")
    store = LocalStore(root)
    publication.publish(store, versions[0])
    with serving(root, work / "server.log") as server:
        load = make_load(sources, settings, server.port, arguments.connections)
        with sending(load, work) as swapped:
            started = time.monotonic()
            alternate(server, store, versions, arguments.swaps)
            seconds = time.monotonic() - started
        _add(report, "while bundles are swapped", swapped, seconds, swaps=arguments.swaps)
        for version in versions:
            report.add("answers", swapped["answers"].get(version, 0), "answers", bundle=version)
        other = next(v for v in versions if v != server.health()["bundle_version"])
        with sending(load, work) as broken:
            started = time.monotonic()
            files, missed = break_each_file(server, store, root / other)
            seconds = time.monotonic() - started
        report.add("files with a flipped byte", files, "files")
        report.add("broken bundles that were served", len(missed), "bundles", 0, files=missed)
        _add(report, "while bundles are broken", broken, seconds)
    return not (missed or any(result[key] for result in (swapped, broken) for key in ("errors", "mixed")))


def _add(report: Report, when: str, result: Mapping[str, Any], seconds: float, **context: Any) -> None:
    context = {"when": when, "cores": os.cpu_count(), **context}
    count = sum(result["answers"].values())
    report.add("requests answered", count, "requests", **context)
    report.add("requests a second", count / seconds, "1/s", **context)
    for percent in (50, 99, 100):
        report.add(f"time to the answer, p{percent}", float(np.percentile(result["ms"], percent)), "ms", **context)
    report.add("requests that failed", len(result["errors"]), "requests", 0, **context, first=result["errors"][:1])
    report.add("mixed answers", len(result["mixed"]), "answers", 0, **context, first=result["mixed"][:1])


def _open(settings: Settings, location: str) -> Bundle:
    if Path(location).is_dir():
        return Bundle.open(location)
    return Bundle.open(publication.store_of(settings).fetch(location))


def work(settings: Settings, arguments: Namespace) -> int:
    with reporting("swaps", ("scann", "tensorflow", "fastapi", "uvicorn"), arguments.work) as (report, folder):
        folder.mkdir(parents=True, exist_ok=True)
        return 0 if measure(settings, arguments, report, folder) else 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = command_line.parser(__doc__)
    parser.add_argument("bundles", nargs=2, metavar="BUNDLE", help="a folder or a version")
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--connections", type=int, default=4, help="that send requests at the same time")
    parser.add_argument("--work", metavar="FOLDER", help="keeps the copies of the bundles")
    return command_line.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
