"""Serve recommendations over HTTP: the reference server, to be copied or used as it is.

Reads the live bundle in <bundles.root>, and every bundle published while it runs. Writes only log lines, a JSON object
per request, to standard error. Listens at serving.host, loopback by default, and serving.port.

    POST /recommend   {"history": [318, {"title_id": 2571, "weight": 0.8, "age_days": 12}], "country": "DE",
                       "providers": ["nfx"], "dial": "discover", "k": 10}
    POST /similar     {"title_ids": [318], "country": "DE", "k": 10}
    GET /health       the bundle that is served, and one that was refused
    GET /metrics      metrics for Prometheus
    GET /docs         the OpenAPI page

On SIGTERM or SIGINT it finishes the requests it has and ends with code 0.
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

_RESPONSES = TypeAdapter(RetrieverResponse)
_BAD_REQUEST: dict[int | str, dict[str, Any]] = {
    413: {"description": "The body is larger than serving.max_body_bytes"},
}


class Health(BaseModel):
    """State of the server. `status` is "refusing" while the pointer names a bundle that was refused."""

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
    """Make the application over a store's live bundle. Raises BundleError where that can't be served."""
    metrics = ServerMetrics()
    live = LiveRetriever(store, options, metrics.note_bundle)

    @asynccontextmanager
    async def watching(_: FastAPI) -> AsyncIterator[None]:
        with live:
            yield

    app = FastAPI(
        title="Marquee", summary="Recommendations for users, and similar titles.", version="1", lifespan=watching
    )
    app.add_middleware(RequestLog, count=metrics.count_request, max_body_bytes=options.max_body_bytes)
    app.add_exception_handler(RequestError, _refuse_request)
    app.add_exception_handler(RequestValidationError, _refuse_body)

    def respond(
        request: Request, body: RecommendRequest | SimilarRequest, retrieve: Callable[[], RetrieverResponse]
    ) -> Response:
        refuse_too_large(body, options)
        response = retrieve()
        metrics.count_response(response, body.k or options.titles)
        note(
            request.scope,
            bundle=response.bundle_version,
            basis=response.basis,
            plan=response.plan,
            titles=len(response.items),
        )
        note(request.scope, unknown=len(response.unknown_title_ids), country=body.country)
        return Response(_RESPONSES.dump_json(response), media_type="application/json")

    # Plain functions run in threads, and ScaNN and BLAS release the interpreter lock while they compute.
    @app.post("/recommend", response_model=RetrieverResponse, responses=_BAD_REQUEST)
    def recommend(body: RecommendRequest, request: Request) -> Response:
        retriever = live.current
        return respond(
            request,
            body,
            lambda: retriever.recommend(body.entries(), dial=body.dial, freshness=body.freshness, **_filters(body)),
        )

    @app.post("/similar", response_model=RetrieverResponse, responses=_BAD_REQUEST)
    def similar(body: SimilarRequest, request: Request) -> Response:
        retriever = live.current
        return respond(request, body, lambda: retriever.similar(body.title_ids, **_filters(body)))

    @app.get("/health")
    def health() -> Health:
        return _health(live)

    @app.get("/metrics", response_class=Response)
    def exposed() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


def _filters(body: RecommendRequest | SimilarRequest) -> dict[str, Any]:
    return {
        "country": body.country,
        "providers": body.providers,
        "k": body.k,
        "exclude": body.exclude,
        "candidates": body.candidates,
        "why": body.why,
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
    """Describe what is wrong and where, without the input: it may be long, or not valid JSON."""
    assert isinstance(error, RequestValidationError)
    detail = [{name: problem[name] for name in ("type", "loc", "msg")} for problem in error.errors()]
    return JSONResponse({"detail": detail}, status_code=422)


def _refuse_request(_: Request, error: Exception) -> JSONResponse:
    """Describe a RequestError in the same form as `_refuse_body`."""
    assert isinstance(error, RequestError)
    detail = [{"type": "value_error", "loc": ["body", error.field], "msg": error.message}]
    return JSONResponse({"detail": detail}, status_code=422)


def serve(store: Store, options: Serving) -> None:
    """Serve until SIGTERM or SIGINT."""
    app = make_app(store, options)
    config = uvicorn.Config(
        app, host=options.host, port=options.port, log_config=None, access_log=False, server_header=False
    )
    # uvicorn finishes and then raises the signal again, for the previous handler, which must not end the process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run()
    log.info("ended: all requests are answered")


def work(settings: Settings, arguments: Namespace) -> None:
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines())
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)
    limit_threads(settings.serving.threads)
    serve(publication.store_of(settings), settings.serving)


def main(argv: Sequence[str] | None = None) -> int:
    command = command_line.parser(__doc__)
    for name, shown in (("host", "ADDRESS"), ("port", "PORT")):
        # A shorthand for --set, checked like every setting.
        command.add_argument(
            f"--{name}", dest="overrides", action="append", metavar=shown,
            type=f"serving.{name}={{}}".format, help=f"shorthand for --set serving.{name}=...",
        )  # fmt: skip
    return command_line.run(command, work, argv)


if __name__ == "__main__":
    sys.exit(main())
