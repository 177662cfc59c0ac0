"""What those ask who keep an edge running: may it be sent callers, and what has it counted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_client.realtime.edge import Edge
from edge_client.realtime.edge_metrics import EdgeFigures, SoundTotals, circuits_of
from edge_client.realtime.keys import bearer
from edge_client.realtime.statistics import ask_each
from edge_client.workers.crew import Crew
from edge_client.workers.siblings import FORWARDED
from routing.telemetry.exposition import Scrape, merged

METRICS = "/metrics"
READY = "/readyz"
SHOW_SEC = 10.0  # how old the figures may be that leave for a collector; a scrape gets new ones

type Stage = Literal["starting", "ready", "leaving"]


def add_probes(app: FastAPI) -> None:
    """Serve ``/readyz`` and ``/metrics``. Whether the edge lives is told beside its calls: ``/healthz``."""
    app.state.stage = "starting"
    app.add_middleware(LastAnswers)
    app.get(READY)(ready)
    app.get(METRICS)(scraped)


@contextmanager
def welcome(app: FastAPI) -> Iterator[None]:
    """Callers are welcome until the block ends."""
    app.state.stage = "ready"
    try:
        yield
    finally:
        app.state.stage = "leaving"


# -- may it be sent callers --------------------------------------------------------------------------------------------


async def ready(request: Request) -> Response:
    """200 where a caller would find a place, at this worker or at another; 503 with the reason where not."""
    why_not = _why_not(request.app.state.stage, request.app.state.edge)
    return JSONResponse({"status": why_not or "ready"}, 503 if why_not else 200)


def _why_not(stage: Stage, edge: Edge) -> str | None:
    if stage != "ready":
        return stage
    if edge.drain.is_draining:
        return "draining"
    return None if _has_places(edge) else "full"


def _has_places(edge: Edge) -> bool:
    if edge.crew:
        return bool(edge.crew.emptiest())
    return edge.sessions < edge.settings.maximum_sessions


class LastAnswers:
    """ASGI middleware: what a draining edge answers is the last answer of that connection.

    A balancer sends new connections elsewhere; a browser that kept this one would ask the same edge for ever.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and scope["app"].state.edge.drain.is_draining:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, receive, closing if scope["type"] == "http" else send)


# -- what it has counted -----------------------------------------------------------------------------------------------


async def show_now_and_then(app: FastAPI) -> None:
    """Keep what is looked at up to date for those who ask on threads of theirs, until cancelled."""
    while True:
        _show(app)
        await asyncio.sleep(SHOW_SEC)


def _show(app: FastAPI) -> None:
    edge: Edge = app.state.edge
    running = [each for call in app.state.calls for each in call.statistics()]
    edge.metrics.show(
        EdgeFigures(
            sessions=edge.sessions,
            places=edge.settings.maximum_sessions,
            lag=app.state.loop_lag.statistics(),
            sound=SoundTotals.of(edge.media.with_running(running)),
            circuits=circuits_of(edge.routing()),
        )
    )


async def scraped(request: Request) -> Response:
    """All metrics, as Prometheus reads them; of several workers each with its number as ``worker``.

    Where callers need keys, so does this: the operator's own, unless ``telemetry.metrics_open``.
    """
    edge: Edge = request.app.state.edge
    if not edge.settings.telemetry.metrics_open:
        edge.keys.demand_api_key(bearer(request.headers.get("authorization")))
    _show(request.app)
    scrape = await _own_scrape(edge, request.headers.get("accept", ""))
    if edge.crew and FORWARDED not in request.headers:
        scrape = await _with_siblings(edge.crew, scrape, request)
    return Response(scrape.text, media_type=scrape.media_type)


async def _own_scrape(edge: Edge, accept: str) -> Scrape:
    labels = {"worker": str(edge.crew.number)} if edge.crew else {}
    return await asyncio.to_thread(edge.telemetry.exposition.scrape, accept=accept, labels=labels)


async def _with_siblings(crew: Crew, own: Scrape, request: Request) -> Scrape:
    """The others are asked like this one; those that do not answer are missing."""
    asked = [(name, value) for name, value in request.headers.raw if name in {b"accept", b"authorization"}]
    answers = await ask_each(crew, METRICS, asked)
    texts = [own.text, *(answer.text for answer in answers.values())]
    return own._replace(text=await asyncio.to_thread(merged, texts))
