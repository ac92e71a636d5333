"""What the server counts, as Prometheus reads it."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serving.live import Refused
from serving.response.response import RetrieverResponse
from serving.retriever import Retriever

_SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 4.0)


class ServerMetrics:
    """One set per server, so that two in a process do not count for one another."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter("marquee_requests", "Requests.", ["path", "status"], registry=self.registry)
        self._seconds = Histogram(
            "marquee_request_seconds", "Time to the answer.", ["path"], buckets=_SECONDS, registry=self.registry
        )
        self._answers = Counter(
            "marquee_answers", "Answers by what they go by and how they were found.", ["basis", "plan"],
            registry=self.registry,
        )  # fmt: skip
        self._unknown = Counter(
            "marquee_unknown_titles", "Titles asked with that the bundle lacks.", registry=self.registry
        )
        self._short = Counter(
            "marquee_short_answers", "Answers with fewer titles than asked for.", registry=self.registry
        )
        self._bundle = Gauge("marquee_bundle", "1 for the bundle that is served.", ["version"], registry=self.registry)
        self._created = Gauge("marquee_bundle_created_seconds", "When it was built, Unix time.", registry=self.registry)
        self._swapped = Gauge(
            "marquee_bundle_taken_up_seconds", "When it was taken up, Unix time.", registry=self.registry
        )
        self._titles = Gauge("marquee_bundle_titles", "Titles that may be recommended.", registry=self.registry)
        self._refused = Counter("marquee_bundles_refused", "Bundles that were refused.", registry=self.registry)

    def count_request(self, path: str, status: int, seconds: float) -> None:
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def count_answer(self, answer: RetrieverResponse, asked: int) -> None:
        self._answers.labels(answer.basis, answer.plan).inc()
        self._unknown.inc(len(answer.unknown_title_ids))
        self._short.inc(len(answer.items) < asked)

    def note_bundle(self, news: Retriever | Refused) -> None:
        """What LiveRetriever tells."""
        if isinstance(news, Refused):
            self._refused.inc()
            return
        self._bundle.clear()
        self._bundle.labels(news.version).set(1)
        self._created.set(news.bundle.manifest.created_at.timestamp())
        self._swapped.set(time.time())
        self._titles.set(news.bundle.count_candidates)
