"""Prometheus metrics of the server."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serving.live import Refused
from serving.response.response import RetrieverResponse
from serving.retriever import Retriever

_SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 4.0)


class ServerMetrics:
    """Metrics of one server, in a registry of their own: two servers in a process don't share counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter("marquee_requests", "Requests.", ["path", "status"], registry=self.registry)
        self._seconds = Histogram(
            "marquee_request_seconds", "Time to the response.", ["path"], buckets=_SECONDS, registry=self.registry
        )
        self._answers = Counter(
            "marquee_answers", "Responses by basis and by search plan.", ["basis", "plan"],
            registry=self.registry,
        )  # fmt: skip
        self._unknown = Counter(
            "marquee_unknown_titles", "Titles in requests that the bundle lacks.", registry=self.registry
        )
        self._short = Counter(
            "marquee_short_answers", "Responses with fewer titles than requested.", registry=self.registry
        )
        self._bundle = Gauge("marquee_bundle", "1 for the bundle that is served.", ["version"], registry=self.registry)
        self._created = Gauge(
            "marquee_bundle_created_seconds", "Time at which the bundle was built, Unix time.", registry=self.registry
        )
        self._swapped = Gauge(
            "marquee_bundle_taken_up_seconds",
            "Time at which the bundle became current, Unix time.",
            registry=self.registry,
        )
        self._titles = Gauge("marquee_bundle_titles", "Titles that may be recommended.", registry=self.registry)
        self._refused = Counter("marquee_bundles_refused", "Bundles that were refused.", registry=self.registry)

    def count_request(self, path: str, status: int, seconds: float) -> None:
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def count_response(self, response: RetrieverResponse, count_requested: int) -> None:
        self._answers.labels(response.basis, response.plan).inc()
        self._unknown.inc(len(response.unknown_title_ids))
        self._short.inc(len(response.items) < count_requested)

    def note_bundle(self, event: Retriever | Refused) -> None:
        """Record an event of LiveRetriever: a new current bundle, or a refused one."""
        if isinstance(event, Refused):
            self._refused.inc()
            return
        self._bundle.clear()
        self._bundle.labels(event.version).set(1)
        self._created.set(event.bundle.manifest.created_at.timestamp())
        self._swapped.set(time.time())
        self._titles.set(event.bundle.count_candidates)
