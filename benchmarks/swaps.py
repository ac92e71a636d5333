"""The server under load from another process, while bundles are swapped under it and broken ones are put before it.

Reads two bundles, folders or versions in <bundles.root>; works in a temporary folder with copies of them, with a server
of its own on a free port of loopback. First the pointer goes to and fro between both, --swaps times. Then every file of
the one that is not served gets a byte flipped in turn, and the pointer is set to it: it must be refused each time.

Figures are JSON lines on standard output, and a table. Exit code 3 where a request failed, an answer holds a title or a
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

from benchmarks.measure import Report, reporting
from benchmarks.swaps_load import Load
from conf import command_line
from conf.settings import Settings
from indexing.bundle import checksums
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
    """A server of its own process, over the bundles of a root."""

    port: int
    process: "subprocess.Popen[str]"

    def health(self) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", "/health")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def wait_for(self, what: str, is_so: Callable[[Mapping[str, Any]], bool]) -> None:
        """Until the server's health says so; raises JobError where it never does."""
        ends = time.monotonic() + _WAIT_SECONDS
        while not is_so(found := self.health()):
            if time.monotonic() > ends:
                raise JobError(f"the server did not {what} within {_WAIT_SECONDS:.0f} s: {found}")
            time.sleep(0.02)


@contextmanager
def serving(root: Path, log: Path) -> Iterator[Server]:
    """A server on a free port. It gets SIGTERM in the end, and must then end with code 0."""
    own = {"bundles.root": root, "serving.refresh_seconds": _REFRESH_SECONDS, "serving.refused_retry_seconds": 1e-3}
    overrides = [part for key, value in own.items() for part in ("--set", f"{key}={value}")]
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
    """As the server logs it once it listens."""
    ends = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        for line in log.read_text().splitlines():
            if "Uvicorn running on" in line:
                return int(json.loads(line)["message"].split("http://")[1].split()[0].rsplit(":", 1)[1])
        time.sleep(0.05)
    raise JobError(f"the server does not listen: {log.read_text()[-2000:]}")


@contextmanager
def asking(load: Load, work: Path) -> Iterator[dict[str, Any]]:
    """Requests from another process while the block runs; what it saw is in the dictionary afterwards."""
    spec = work / "load.json"
    spec.write_text(json.dumps(asdict(load)), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.swaps_load", str(spec)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    seen: dict[str, Any] = {}
    try:
        yield seen
    finally:
        printed, _ = process.communicate(timeout=_WAIT_SECONDS)
    if process.returncode:
        raise JobError("the process that asks failed; see above")
    seen.update(json.loads(printed))


def make_load(bundles: Sequence[Bundle], settings: Settings, port: int, connections: int) -> Load:
    """Requests of all kinds over titles that all of the bundles have, with the answers that each bundle must give."""
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


def swap_to_and_fro(server: Server, store: LocalStore, versions: Sequence[str], swaps: int) -> None:
    """Publish the versions in turn, each time until the server serves it."""
    for n in range(swaps):
        version = versions[(n + 1) % len(versions)]
        publication.publish(store, version)
        server.wait_for(f"take up {version}", lambda health, version=version: health["bundle_version"] == version)  # type: ignore[misc]


def break_each_file(server: Server, store: LocalStore, folder: Path) -> tuple[int, list[str]]:
    """Flip a byte of each file in turn and point to the bundle; how many files, and which were not refused."""
    served = server.health()["bundle_version"]
    live = publication.live_entry(store)
    sha256 = checksums.manifest_sha256(folder)
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
        # Back to the bundle that is served, before the file is whole again.
        _point(store, live.version, live.manifest_sha256)
        server.wait_for("forget what it refused", lambda health: health["refused_version"] is None)
        path.write_bytes(good)
    return len(files), missed


def _point(store: LocalStore, version: str, sha256: str) -> None:
    """Without verifying: a publisher would see that the bundle is broken."""
    pointer.swap(store, pointer.read_tagged(store), version, sha256, "publish")


def measure(settings: Settings, arguments: Namespace, report: Report, work: Path) -> bool:
    """Whether all went well."""
    root = work / "bundles"
    sources = [_open(settings, named) for named in arguments.bundles]
    for opened in sources:
        shutil.copytree(opened.folder, root / opened.version)
    versions = [opened.version for opened in sources]
    if len(set(versions)) < len(versions):
        raise JobError(f"expected two bundles of different versions, found {versions}")
    store = LocalStore(root)
    publication.publish(store, versions[0])
    with serving(root, work / "server.log") as server:
        load = make_load(sources, settings, server.port, arguments.connections)
        with asking(load, work) as swapped:
            started = time.monotonic()
            swap_to_and_fro(server, store, versions, arguments.swaps)
            seconds = time.monotonic() - started
        _add(report, "while bundles are swapped", swapped, seconds, swaps=arguments.swaps)
        for version in versions:
            report.add("answers", swapped["answers"].get(version, 0), "answers", bundle=version)
        other = next(v for v in versions if v != server.health()["bundle_version"])
        with asking(load, work) as broken:
            started = time.monotonic()
            files, missed = break_each_file(server, store, root / other)
            seconds = time.monotonic() - started
        report.add("files with a flipped byte", files, "files")
        report.add("broken bundles that were served", len(missed), "bundles", 0, files=missed)
        _add(report, "while bundles are broken", broken, seconds)
    return not (missed or any(seen[key] for seen in (swapped, broken) for key in ("errors", "mixed")))


def _add(report: Report, when: str, seen: Mapping[str, Any], seconds: float, **context: Any) -> None:
    context = {"when": when, "cores": os.cpu_count(), **context}
    count = sum(seen["answers"].values())
    report.add("requests answered", count, "requests", **context)
    report.add("requests a second", count / seconds, "1/s", **context)
    for percent in (50, 99, 100):
        report.add(f"time to the answer, p{percent}", float(np.percentile(seen["ms"], percent)), "ms", **context)
    report.add("requests that failed", len(seen["errors"]), "requests", 0, **context, first=seen["errors"][:1])
    report.add("mixed answers", len(seen["mixed"]), "answers", 0, **context, first=seen["mixed"][:1])


def _open(settings: Settings, named: str) -> Bundle:
    if Path(named).is_dir():
        return Bundle.open(named)
    return Bundle.open(publication.store_of(settings).fetch(named))


def work(settings: Settings, arguments: Namespace) -> int:
    with reporting("swaps", ("scann", "tensorflow", "fastapi", "uvicorn"), arguments.work) as (report, folder):
        folder.mkdir(parents=True, exist_ok=True)
        return 0 if measure(settings, arguments, report, folder) else 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = command_line.parser(__doc__)
    parser.add_argument("bundles", nargs=2, metavar="BUNDLE", help="a folder or a version")
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--connections", type=int, default=4, help="that ask at once")
    parser.add_argument("--work", metavar="FOLDER", help="where copies of the bundles are made, and stay")
    return command_line.run(parser, work, argv)


if __name__ == "__main__":
    sys.exit(main())
