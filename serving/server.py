"""Serve recommendations over HTTP: the reference server, to be copied or used as it is.

Reads the live bundle in <bundles.root>, and each one that is published while it runs; writes nothing but log lines, a
JSON object per request, on standard error. Listens at serving.host, loopback by default, and serving.port.

    POST /recommend   {"history": [318, {"title_id": 2571, "weight": 0.8, "age_days": 12}], "country": "DE",
                       "providers": ["nfx"], "dial": "discover", "k": 10}
    POST /similar     {"title_ids": [318], "country": "DE", "k": 10}
    GET /health       which bundle is served, and which one was refused
    GET /metrics      for Prometheus
    GET /docs         the OpenAPI page

On SIGTERM or SIGINT it answers what it was asked, and ends with code 0.
"""

import logging
import signal
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, TypeAdapter

from conf import command_line
from conf.settings import Serving, Settings
from indexing.errors import RequestError
from indexing.publishing import publication
from indexing.publishing.storage import Store
from serving.http.request_log import JsonLines, RequestLog, note
from serving.http.requests import RecommendRequest, SimilarRequest, refuse_too_large
from serving.http.server_metrics import ServerMetrics
from serving.live import LiveRetriever
from serving.response.response import RetrieverResponse
from serving.search.threads import limit_threads

log = logging.getLogger("marquee")

_ANSWERS = TypeAdapter(RetrieverResponse)
_BAD_REQUEST: dict[int | str, dict[str, Any]] = {
    413: {"description": "The body is larger than serving.max_body_bytes"},
}


class Health(BaseModel):
    """What is served. `status` is "refusing" where the pointer names a bundle that is not served."""

    status: str
    bundle_version: str
    model_version: int
    created_at: datetime
    as_of: date
    titles: int
    dial: dict[str, float]
    refused_version: str | None
    refused_reason: str | None


def make_app(store: Store, options: Serving) -> FastAPI:
    """The application over the live bundle of a store. Raises BundleError where that can't be served."""
    metrics = ServerMetrics()
    live = LiveRetriever(store, options, metrics.note_bundle)

    @asynccontextmanager
    async def watching(_: FastAPI) -> AsyncIterator[None]:
        with live:
            yield

    app = FastAPI(title="Marquee", summary="Titles for people, and titles like others.", version="1", lifespan=watching)
    app.add_middleware(RequestLog, count=metrics.count_request, max_body_bytes=options.max_body_bytes)
    app.add_exception_handler(RequestError, _refuse_request)
    app.add_exception_handler(RequestValidationError, _refuse_body)

    def answered(
        request: Request, asked: RecommendRequest | SimilarRequest, make: Callable[[], RetrieverResponse]
    ) -> Response:
        refuse_too_large(asked, options)
        answer = make()
        metrics.count_answer(answer, asked.k or options.titles)
        note(
            request.scope, bundle=answer.bundle_version, basis=answer.basis, plan=answer.plan, titles=len(answer.items)
        )
        note(request.scope, unknown=len(answer.unknown_title_ids), country=asked.country)
        return Response(_ANSWERS.dump_json(answer), media_type="application/json")

    # Not coroutines: they run in threads, and ScaNN and BLAS let go of the interpreter while they compute.
    @app.post("/recommend", response_model=RetrieverResponse, responses=_BAD_REQUEST)
    def recommend(asked: RecommendRequest, request: Request) -> Response:
        retriever = live.current
        return answered(
            request,
            asked,
            lambda: retriever.recommend(asked.entries(), dial=asked.dial, freshness=asked.freshness, **_filters(asked)),
        )

    @app.post("/similar", response_model=RetrieverResponse, responses=_BAD_REQUEST)
    def similar(asked: SimilarRequest, request: Request) -> Response:
        retriever = live.current
        return answered(request, asked, lambda: retriever.similar(asked.title_ids, **_filters(asked)))

    @app.get("/health")
    def health() -> Health:
        return _health(live)

    @app.get("/metrics", response_class=Response)
    def exposed() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


def _filters(asked: RecommendRequest | SimilarRequest) -> dict[str, Any]:
    return {
        "country": asked.country,
        "providers": asked.providers,
        "k": asked.k,
        "exclude": asked.exclude,
        "candidates": asked.candidates,
        "why": asked.why,
    }


def _health(live: LiveRetriever) -> Health:
    manifest, refused = live.current.bundle.manifest, live.refused
    return Health(
        status="serving" if refused is None else "refusing",
        bundle_version=manifest.bundle_version,
        model_version=manifest.model.version,
        created_at=manifest.created_at,
        as_of=manifest.as_of,
        titles=manifest.counts.candidates,
        dial=dict(manifest.dial.settings),
        refused_version=refused.version if refused else None,
        refused_reason=refused.reason if refused else None,
    )


def _refuse_body(_: Request, error: Exception) -> JSONResponse:
    """What is wrong and where, without what came: it may be long, or nothing that JSON has."""
    assert isinstance(error, RequestValidationError)
    detail = [{name: problem[name] for name in ("type", "loc", "msg")} for problem in error.errors()]
    return JSONResponse({"detail": detail}, status_code=422)


def _refuse_request(_: Request, error: Exception) -> JSONResponse:
    """In the same form."""
    assert isinstance(error, RequestError)
    detail = [{"type": "value_error", "loc": ["body", error.field], "msg": error.message}]
    return JSONResponse({"detail": detail}, status_code=422)


def serve(store: Store, options: Serving) -> None:
    """Until SIGTERM or SIGINT."""
    app = make_app(store, options)
    config = uvicorn.Config(
        app, host=options.host, port=options.port, log_config=None, access_log=False, server_header=False
    )
    # uvicorn ends its work and then raises the signal again, for whoever handled it before: nobody has to.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run()
    log.info("ended: everything that was asked is answered")


def work(settings: Settings, arguments: Namespace) -> None:
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines())
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)
    limit_threads(settings.serving.threads)
    serve(publication.store_of(settings), settings.serving)


def main(argv: Sequence[str] | None = None) -> int:
    command = command_line.parser(__doc__)
    for name, shown in (("host", "ADDRESS"), ("port", "PORT")):
        # One more way to write a setting, checked as all are.
        command.add_argument(
            f"--{name}", dest="overrides", action="append", metavar=shown,
            type=f"serving.{name}={{}}".format, help=f"for serving.{name}",
        )  # fmt: skip
    return command_line.run(command, work, argv)


if __name__ == "__main__":
    sys.exit(main())
