"""Brings each request to the worker that it is about, whichever worker was asked."""

from __future__ import annotations

import logging
import re

import httpx
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_client.realtime.faults import error_body, error_response
from edge_client.workers.crew import Crew, named_worker
from edge_client.workers.siblings import ADDRESS, FORWARDED, WorkerGone
from routing.errors import BackendUnavailable

logger = logging.getLogger(__name__)

OFFERS = "/v1/realtime/calls"
# Header: the token of a call, given with its answer and wanted with the offer that resumes it.
RESUME = "Antiphon-Resume"
FULL = 503

_ABOUT_A_CALL = re.compile(rf"{OFFERS}/([^/]+)")
# Of the connection and not of the request; the origin is the business of the worker that was asked.
_LEFT_OUT = {
    ADDRESS.lower().encode(),
    b"connection",
    b"content-length",
    b"date",
    b"expect",
    b"host",
    b"keep-alive",
    b"origin",
    b"server",
    b"transfer-encoding",
}


class Pinning:
    """ASGI middleware. What is about a call goes to the worker that has it, a new call to the one with most places.

    Whatever cannot be passed on is answered here, by the application: a call that ended with its worker is unknown.
    Bodies must be bounded before they come here.
    """

    def __init__(self, app: ASGIApp, *, crew: Crew) -> None:
        self._app = app
        self._crew = crew

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        named = _named(scope)
        if named is None or FORWARDED in Headers(scope=scope):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            return  # nobody waits for an answer
        response = await self._ask(self._wanted(named), request, body)
        await (response or self._app)(scope, _again(body, receive), send)

    def _wanted(self, named: str) -> list[int]:
        """The workers that may answer, best first: the one that an id names, or whoever has places for a new call."""
        if not named:
            return self._crew.emptiest()
        worker = named_worker(named)
        return [worker] if worker in self._crew.siblings.numbers() else []

    async def _ask(self, workers: list[int], request: Request, body: bytes) -> Response | None:
        """What another worker answers; None where this one must."""
        for worker in workers:
            if request.scope["path"] == OFFERS:
                self._crew.promise(worker)
            if worker == self._crew.number:
                return None
            try:
                answer = await self._forward(worker, request, body)
            except WorkerGone as gone:
                logger.info("%s", gone)
                continue
            except BackendUnavailable as fault:  # it may have begun: asking another one could begin it twice
                logger.warning("%s", fault)
                return _unavailable()
            if answer.status_code != FULL or worker == workers[-1]:
                return _passed_on(answer)
        return None

    async def _forward(self, worker: int, request: Request, body: bytes) -> httpx.Response:
        path, query = request.scope["raw_path"], request.scope["query_string"]
        headers = [(name, value) for name, value in request.headers.raw if name not in _LEFT_OUT]
        headers.append((ADDRESS.encode(), request.state.address.encode()))
        target = path + b"?" + query if query else path
        return await self._crew.siblings.ask(worker, request.method, target, headers=headers, body=body)


def _named(scope: Scope) -> str | None:
    """The id of the call that this is about, "" for a new one; None for whatever any worker can answer."""
    if scope["type"] != "http":
        return None
    if about := _ABOUT_A_CALL.match(scope["path"]):
        return about[1]
    if scope["path"] == OFFERS and scope["method"] == "POST":
        return Headers(scope=scope).get(RESUME, "")
    return None


def _passed_on(answer: httpx.Response) -> Response:
    response = Response(answer.content, answer.status_code)
    headers = ((name.lower(), value) for name, value in answer.headers.raw)
    response.raw_headers.extend((name, value) for name, value in headers if name not in _LEFT_OUT)
    return response


def _unavailable() -> Response:
    body = error_body("the worker that was asked does not answer", code="worker_unavailable", kind="server_error")
    return error_response(503, body, {"Retry-After": "1"})


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, to be read once more."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
