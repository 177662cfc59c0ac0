"""The edge's HTTP surface: calls, sockets, client secrets, and how the edge is doing."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response, WebSocket, status
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from edge_client.loop_lag import LoopLag, watch_loop
from edge_client.realtime.addresses import Proxies
from edge_client.realtime.body_limit import BodyLimit
from edge_client.realtime.calls import Answer, Calls
from edge_client.realtime.client_events import read_envelope
from edge_client.realtime.edge import Edge
from edge_client.realtime.faults import error_body, error_response
from edge_client.realtime.guard import TooManyRequests, Visitor
from edge_client.realtime.hosts import KnownHosts
from edge_client.realtime.key_files import keep_keys
from edge_client.realtime.keys import Grant, KeyRing, Unauthorized, bearer
from edge_client.realtime.openapi import add_description
from edge_client.realtime.page import add_page
from edge_client.realtime.pinning import RESUME, Pinning
from edge_client.realtime.probes import add_probes, show_now_and_then, welcome
from edge_client.realtime.security_headers import HEADERS, SecurityHeaders
from edge_client.realtime.session_config import Json, SessionConfig
from edge_client.realtime.socket import serve_socket
from edge_client.realtime.statistics import PATH as STATISTICS
from edge_client.realtime.statistics import ask_all, edge_statistics, process_statistics, worker_statistics
from edge_client.realtime.turnstile import Turnstile, too_many
from edge_client.settings import EdgeSettings
from edge_client.webrtc.peer import PeerSettings
from edge_client.webrtc.turn import check_relay, relays
from edge_client.workers.siblings import FORWARDED
from routing.errors import AtCapacity, InvalidRequest, SettingsError
from routing.telemetry.carrier import plain_carrier

logger = logging.getLogger(__name__)

MAXIMUM_BODY_BYTES = 64 * 1024
MAXIMUM_BODY_SEC = 10.0
LOOPBACK_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
FORM = "multipart/form-data"
KEY_PROTOCOL = "openai-insecure-api-key."
TRACE = "X-Trace-Id"  # header: the trace of the connection, for whoever reports a fault
LAST_EVENT = "Antiphon-Last-Event"  # header: the id of the last server event that came before the connection broke


# -- the application -------------------------------------------------------------------------------------------------


def create_app(edge: Edge, *, on_ready: Callable[[], None] = lambda: None) -> FastAPI:
    """The ASGI application of one edge. Calls live in its lifespan."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            app.state.calls = Calls(edge, tasks)
            reporting = tasks.create_task(_report_relay(edge.settings.peer))
            watching = tasks.create_task(watch_loop(app.state.loop_lag))
            showing = tasks.create_task(show_now_and_then(app))
            keeping = tasks.create_task(keep_keys(edge.keys, edge.settings))
            with welcome(app):
                on_ready()
                yield
            for task in (reporting, watching, showing, keeping):
                task.cancel()
            app.state.calls.close()

    app = FastAPI(
        title="Antiphon edge",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # to what the caller names as our host, and without TLS where a proxy has taken it off
        # Its own spans and logs would hold paths, queries and bodies that clients send.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.edge = edge
    app.state.loop_lag = LoopLag()
    if edge.crew:
        app.add_middleware(Pinning, crew=edge.crew)
    app.add_middleware(BodyLimit, maximum_bytes=MAXIMUM_BODY_BYTES, maximum_sec=MAXIMUM_BODY_SEC)
    proxies = Proxies(edge.settings.trusted_proxies)
    app.add_middleware(Turnstile, guard=edge.guard, proxies=proxies, on_refused=edge.metrics.note_refused)
    _allow_origins(app, edge.settings)
    if edge.settings.development:
        app.add_middleware(KnownHosts, allowed_origins=edge.settings.allowed_origins)
    app.add_middleware(SecurityHeaders, encrypted=edge.settings.tls.certificate_file is not None)
    _answer_faults(app)
    _add_routes(app)
    add_probes(app)
    add_description(app)
    add_page(app, edge.settings.peer)
    return app


def _allow_origins(app: FastAPI, settings: EdgeSettings) -> None:
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.allowed_origins,
        allow_origin_regex=LOOPBACK_ORIGIN if settings.development else None,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=[
            "Authorization",
            "Content-Type",
            "X-OpenAI-Agents-SDK",
            RESUME,
            LAST_EVENT,
            "traceparent",
            "tracestate",
            "baggage",
        ],
        expose_headers=["Location", "Retry-After", RESUME, TRACE],
    )


def _answer_faults(app: FastAPI) -> None:
    @app.exception_handler(InvalidRequest)
    async def invalid(_: Request, fault: InvalidRequest) -> Response:
        code = status.HTTP_404_NOT_FOUND if fault.code == "call_not_found" else status.HTTP_400_BAD_REQUEST
        return error_response(code, error_body(str(fault), code=fault.code, param=fault.param))

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody reads it

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, fault: RequestValidationError) -> Response:
        first = fault.errors()[0]
        param = ".".join(str(part) for part in first["loc"][1:])
        return error_response(400, error_body(f"{param}: {first['msg']}", code="invalid_value", param=param))

    @app.exception_handler(HTTPException)
    async def refused(_: Request, fault: HTTPException) -> Response:
        body = error_body(str(fault.detail), code=f"http_{fault.status_code}")
        return error_response(fault.status_code, body, fault.headers)

    @app.exception_handler(Unauthorized)
    async def unauthorized(_: Request, fault: Unauthorized) -> Response:
        return error_response(401, error_body(str(fault), code="invalid_api_key"), {"WWW-Authenticate": "Bearer"})

    @app.exception_handler(TooManyRequests)
    async def too_often(_: Request, fault: TooManyRequests) -> Response:
        return too_many(fault)

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:
        body = error_body("something went wrong here, and was logged", code="internal_error", kind="server_error")
        return error_response(500, body, HEADERS)  # no middleware sees this answer

    @app.exception_handler(AtCapacity)
    async def full(_: Request, fault: AtCapacity) -> Response:
        return _full(fault)


def _full(fault: AtCapacity) -> Response:
    body = error_body(str(fault), code="at_capacity", kind="server_error")
    return error_response(503, body, {"Retry-After": str(round(fault.retry_after_sec))})


def _edge(request: Request) -> Edge:
    edge: Edge = request.app.state.edge
    return edge


def _calls(request: Request) -> Calls:
    calls: Calls = request.app.state.calls
    return calls


def _admitted(request: Request) -> Grant:
    """What the caller's credential allows."""
    edge = _edge(request)
    grant = edge.keys.admit(bearer(request.headers.get("authorization")), now=time.time())
    edge.guard.ask_as(grant.holder, asyncio.get_running_loop().time())
    return grant


async def _admitted_caller(request: Request) -> Grant:
    """On the event loop, whose time counts: FastAPI would ask a plain function on a thread."""
    return _admitted(request)


async def _admitted_operator(request: Request) -> Grant:
    grant = _admitted(request)
    if not grant.is_operator:
        raise Unauthorized("expected a valid API key, got a client secret")
    return grant


type Admitted = Annotated[Grant, Depends(_admitted_caller)]
type AdmittedOperator = Annotated[Grant, Depends(_admitted_operator)]


@asynccontextmanager
async def _redeemed(keys: KeyRing, grant: Grant) -> AsyncIterator[None]:
    """A client secret is used up, unless the block fails: then no call has begun by it.

    Raises:
        Unauthorized: it was used up before.
    """
    keys.redeem(grant, now=time.time())
    try:
        yield
    except BaseException:
        await asyncio.to_thread(keys.release, grant)
        raise


def _add_routes(app: FastAPI) -> None:
    app.post("/v1/realtime/calls")(begin_call)
    app.post("/v1/realtime/calls/{call_id}/hangup")(hang_up)
    app.delete("/v1/realtime/calls/{call_id}")(hang_up)
    app.get("/v1/realtime/ice_servers")(ice_servers)
    app.post("/v1/realtime/client_secrets")(create_client_secret)
    app.websocket("/v1/realtime")(realtime_socket)
    app.get("/healthz")(healthy)
    app.get(STATISTICS)(statistics)


# -- calls over WebRTC -----------------------------------------------------------------------------------------------


async def begin_call(request: Request) -> Response:
    """Take an offer: raw SDP, or a form with ``sdp`` and ``session``. With a call's token it resumes that call.

    In a form with a ``ticket`` it goes on with a session that a draining edge has let go.
    """
    token = request.headers.get(RESUME)
    answer = await (_begun(request) if token is None else _resumed(request, token))
    headers = {"Location": f"/v1/realtime/calls/{answer.call_id}", RESUME: answer.token, TRACE: answer.trace_id}
    return Response(answer.description, 201, headers, media_type="application/sdp")


async def _begun(request: Request) -> Answer:
    offer = await _offer(request) if _content_type(request) == FORM else None
    if offer and offer.ticket:
        return await _restored(request, offer)
    grant = _admitted(request)
    offer = offer or await _offer(request)
    parent = plain_carrier(request.headers)
    async with _redeemed(_edge(request).keys, grant):
        address = request.state.address
        return await _calls(request).begin(offer.sdp, offer.session, grant=grant, address=address, parent=parent)


async def _restored(request: Request, offer: Offer) -> Answer:
    """The ticket is credential enough, and has the settings."""
    if offer.session:
        raise InvalidRequest("expected no session settings with a ticket", param="session")
    parent = plain_carrier(request.headers)
    return await _calls(request).restore(offer.ticket, offer.sdp, address=request.state.address, parent=parent)


async def _resumed(request: Request, token: str) -> Answer:
    """The token is credential enough: a client secret may have expired since the call began."""
    offer = await _offer(request)
    if offer.session:
        raise InvalidRequest("expected no session settings with an offer that resumes a call", param="session")
    last = request.headers.get(LAST_EVENT)
    return await _calls(request).resume(token, offer.sdp, last_event_id=last, parent=plain_carrier(request.headers))


class Offer(BaseModel):
    """The parts of a multipart offer."""

    sdp: str
    session: Json = {}
    ticket: str = ""


async def _offer(request: Request) -> Offer:
    match kind := _content_type(request):
        case "application/sdp":
            return Offer(sdp=_text(await request.body(), "sdp"))
        case "multipart/form-data":
            async with request.form(max_files=3, max_fields=4) as form:
                sdp, session, ticket = [await _field(form, name) for name in ("sdp", "session", "ticket")]
                return Offer(sdp=sdp, session=read_envelope(session) if session else {}, ticket=ticket)
        case _:
            raise InvalidRequest(
                f"expected content type application/sdp or multipart/form-data, got {kind or 'none'}",
                code="unsupported_content_type",
            )


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _field(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else _text(await value.read(), name)


def _text(body: bytes, name: str) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"expected {name} as UTF-8 text, got other bytes", param=name) from None


async def hang_up(call_id: str, request: Request, grant: Admitted) -> Response:
    """End a call: the operator any, others their own."""
    _calls(request).hang_up(call_id, grant=grant)
    return Response(status_code=200)


# -- relays -----------------------------------------------------------------------------------------------------------


async def ice_servers(request: Request, _: Admitted) -> Json:
    """TURN servers for whoever may call, in the shape that browsers take; none where the edge has none."""
    edge, now = _edge(request), time.time()
    offered = relays(edge.settings.peer.turn, name=edge.new_id("caller"), now=now)
    if offered is None:
        return {"ice_servers": [], "expires_at": None}
    server = {"urls": list(offered.urls), "username": offered.username, "credential": offered.credential}
    return {"ice_servers": [server], "expires_at": offered.expires_at}


async def _report_relay(settings: PeerSettings) -> None:
    """Say at the start what would otherwise be found out in a call. The server may come up later, so we go on."""
    if not settings.turn.urls:
        return
    try:
        await check_relay(settings.turn, now=time.time())
        logger.info("the TURN server gives relays")
    except SettingsError as fault:
        logger.error("%s", fault)


# -- client secrets --------------------------------------------------------------------------------------------------


class Expiry(BaseModel):
    model_config = ConfigDict(extra="ignore")

    anchor: str = "created_at"
    seconds: int = Field(default=600, ge=10, le=7200)


class SecretRequest(BaseModel):
    """What a client secret is asked for."""

    model_config = ConfigDict(extra="ignore")

    expires_after: Expiry = Expiry()
    session: Json = {}


async def create_client_secret(request: Request, asked: SecretRequest, grant: AdmittedOperator) -> Json:
    """A short-lived key for a browser; only the operator's own keys may ask for one."""
    keys = _edge(request).keys
    config = SessionConfig().updated(asked.session)
    lifetime_sec = asked.expires_after.seconds
    secret = keys.issue(asked.session, now=time.time(), lifetime_sec=lifetime_sec, issuer=grant.holder)
    return {"value": secret.value, "expires_at": secret.expires_at, "session": config.wire()}


# -- sessions over WebSocket -----------------------------------------------------------------------------------------


async def realtime_socket(websocket: WebSocket) -> None:
    """Hold a session. The key comes in a header, or from browsers as a subprotocol."""
    edge: Edge = websocket.app.state.edge
    offered = websocket.scope["subprotocols"]
    try:
        grant = edge.keys.admit(_socket_credential(websocket, offered), now=time.time())
        edge.guard.ask_as(grant.holder, asyncio.get_running_loop().time())
    except Unauthorized as fault:
        await _deny(websocket, 401, str(fault))
        return
    except TooManyRequests as fault:
        await websocket.send_denial_response(too_many(fault))
        return
    if not _origin_allowed(websocket, edge.settings):
        await _deny(websocket, 403, "expected a page of an allowed origin")
        return
    with ExitStack() as place:
        try:
            async with _redeemed(edge.keys, grant):
                place.enter_context(edge.place(Visitor(websocket.state.address, grant.holder, grant.issuer)))
                await websocket.accept(subprotocol="realtime" if "realtime" in offered else None)
        except Unauthorized as fault:
            await _deny(websocket, 401, str(fault))
        except TooManyRequests as fault:
            await websocket.send_denial_response(too_many(fault))
        except AtCapacity as fault:
            await websocket.send_denial_response(_full(fault))
        else:
            config, parent = SessionConfig().updated(grant.session), plain_carrier(websocket.headers)
            await serve_socket(websocket, edge, config, grant=grant, parent=parent)


def _socket_credential(websocket: WebSocket, offered: list[str]) -> str | None:
    keys = (name.removeprefix(KEY_PROTOCOL) for name in offered if name.startswith(KEY_PROTOCOL))
    return bearer(websocket.headers.get("authorization")) or next(keys, None)


def _origin_allowed(websocket: WebSocket, settings: EdgeSettings) -> bool:
    """Browsers send an origin and can be lured; programs send none."""
    origin = websocket.headers.get("origin")
    if origin is None or origin in settings.allowed_origins:
        return True
    own = origin.partition("://")[2] == websocket.headers.get("host")
    return own or (settings.development and bool(re.fullmatch(LOOPBACK_ORIGIN, origin)))


async def _deny(websocket: WebSocket, status_code: int, message: str) -> None:
    await websocket.send_denial_response(error_response(status_code, error_body(message, code=None)))


# -- the rest --------------------------------------------------------------------------------------------------------


async def healthy(request: Request) -> Json:
    """Callers are taken. Of several workers one answers for all: those that are not ready take no connections."""
    edge = _edge(request)
    return {"status": "ok", "sessions": edge.crew.sessions() if edge.crew else edge.sessions}


async def statistics(request: Request, _: AdmittedOperator, *, sweep: bool = False) -> Json:
    """How the edge is doing, per worker and in all; only for the operator's own keys.

    With ``sweep`` what nobody needs any more is swept out of memory before: see `process_statistics`.
    """
    own, crew = await _own_statistics(request, sweep=sweep), _edge(request).crew
    if crew is None:
        return edge_statistics([own])
    return own if FORWARDED in request.headers else await ask_all(crew, own, _credentials(request), sweep=sweep)


async def _own_statistics(request: Request, *, sweep: bool) -> Json:
    edge, lag = _edge(request), request.app.state.loop_lag
    running = [each for call in _calls(request) for each in call.statistics()]
    return worker_statistics(
        worker=edge.crew.number if edge.crew else 0,
        sessions=edge.sessions,
        places=edge.settings.maximum_sessions,
        lag=lag.statistics(),
        media=edge.media.with_running(running),
        routing=edge.routing(),
        process=await process_statistics(calls=sum(1 for _ in _calls(request)), sweep=sweep),
    )


def _credentials(request: Request) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in request.headers.raw if name == b"authorization"]
