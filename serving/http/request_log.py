"""ASGI middleware: one JSON log line and two metrics per request, and a limit on the size of bodies.

A log line holds no personal data: neither the history nor the recommended titles.
"""

import json
import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("marquee.requests")

_NOTES = "marquee.notes"
_KNOWN_PATHS = ("/recommend", "/similar", "/health", "/metrics", "/docs", "/openapi.json")


def note(scope: Scope, **facts: Any) -> None:
    """Add facts to the log line of the request that `scope` belongs to."""
    scope.setdefault(_NOTES, {}).update(facts)


class JsonLines(logging.Formatter):
    """Formats log records as JSON objects, one per line; `extra={"facts": {...}}` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"at": round(record.created, 3), "level": record.levelname, "message": record.getMessage()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps({**line, **getattr(record, "facts", {})}, separators=(",", ":"))


class RequestLog:
    """Logs and counts requests, and answers 413 to a body larger than `max_body_bytes` before it is parsed."""

    def __init__(self, app: ASGIApp, count: Callable[[str, int, float], None], max_body_bytes: int) -> None:
        self._app = app
        self._count = count
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        scope[_NOTES] = {}
        request_id = uuid.uuid4().hex
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            body = await _read(receive, self._max_body_bytes)
            if body is None:
                await _refuse_body(sending, self._max_body_bytes)
            else:
                await self._app(scope, _replay(body, receive), sending)
        finally:
            self._write(scope, request_id, status, time.perf_counter() - started)

    def _write(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        # Unknown paths count as one, or a scanner could create any number of metric series.
        path = scope["path"] if scope["path"] in _KNOWN_PATHS else "other"
        self._count(path, status, seconds)
        facts = {"request_id": request_id, "method": scope["method"], "path": path, "status": status}
        log.info("request", extra={"facts": {**facts, "ms": round(1000 * seconds, 3), **scope[_NOTES]}})


async def _read(receive: Receive, max_bytes: int) -> list[Message] | None:
    """The messages of a request's body; None if it is larger than `max_bytes`."""
    messages: list[Message] = []
    count = 0
    while not messages or messages[-1].get("more_body", False):
        messages.append(await receive())
        count += len(messages[-1].get("body", b""))
        if count > max_bytes:
            return None
    return messages


def _replay(messages: list[Message], receive: Receive) -> Receive:
    """A `receive` that returns `messages` again, and then new messages."""
    remaining = iter(messages)

    async def receiving() -> Message:
        return next(remaining, None) or await receive()

    return receiving


async def _refuse_body(send: Send, max_bytes: int) -> None:
    body = json.dumps({"detail": f"the body is larger than {max_bytes} bytes"}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
