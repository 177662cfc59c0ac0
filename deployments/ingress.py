"""The door of the cloud tier: a WebSocket for each turn, and one for heartbeats."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from deployments.caller_socket import CallerSocket
from deployments.door_keys import DoorKeys
from deployments.first_ended import first_ended
from deployments.load_watch import LoadWatch
from deployments.places import ServePlaces
from deployments.process_figures import process_figures
from deployments.process_telemetry import process_telemetry
from deployments.ray_instruments import RayInstruments
from deployments.relay_trace import RelayTrace
from deployments.served_turn import WHOLE_TURN
from deployments.settings import IngressSettings
from deployments.turn_ledger import TurnLedger
from deployments.turn_relay import TurnRelay
from routing.errors import BackendUnavailable
from routing.refusal import refusal
from routing.telemetry import names
from routing.telemetry.carrier import plain_carrier
from routing.telemetry.logs import speak_of_turn
from routing.telemetry.settings import TelemetrySettings
from routing.telemetry.spans import Spans
from routing.wire import Commit, Open, WireError, encode

logger = logging.getLogger(__name__)

NORMAL, PROTOCOL_ERROR = 1000, 1002  # why a WebSocket is closed, by RFC 6455
LONGEST_REPLY_SEC = 600.0
LONGEST_PAUSE_SEC = 1200.0  # between two heartbeats; the edge lets its operator set 600 at most
TURNS_PATH, HEARTBEAT_PATH = "/v1/turns", "/v1/heartbeat"


class Ingress:
    """Lets callers in, checks what they say, and passes it on to the replica that remembers their session."""

    def __init__(self, replicas: DeploymentHandle, settings: IngressSettings, telemetry: TelemetrySettings) -> None:
        self._settings = settings
        self._keys = DoorKeys(settings.keys, settings.keys_file)
        self._telemetry = telemetry
        self._spans = Spans.silent()  # until the door is open
        self._places = ServePlaces(replicas, reserve_sec=settings.reserve_sec)
        self._load = LoadWatch(self._places.loads, every_sec=settings.load_every_sec)

    def __serve_build_asgi_app__(self) -> Starlette:
        """Called by Ray: what it serves."""
        return Starlette(
            routes=[
                WebSocketRoute(TURNS_PATH, self.turns),
                WebSocketRoute(HEARTBEAT_PATH, self.heartbeat),
                Route("/v1/replicas", self.replicas),
                WebSocketRoute("/{path:path}", self.nowhere),
            ],
            lifespan=self._open,
        )

    @asynccontextmanager
    async def _open(self, _: Starlette) -> AsyncIterator[None]:
        """What this process writes of its turns leaves with it."""
        async with (
            process_telemetry(self._telemetry, service=names.INGRESS) as telemetry,
            process_figures(RayInstruments(), telemetry),
            self._keys.followed(),
        ):
            self._spans = telemetry.spans(names.INGRESS)
            yield

    async def turns(self, socket: WebSocket) -> None:
        """One turn: see `routing.wire`. Closing the connection cancels it."""
        await self._receive(socket, self._turn)

    async def heartbeat(self, socket: WebSocket) -> None:
        """A `Pong` for each `Ping`, with how full the cloud is."""
        await self._receive(socket, self._beat)

    async def replicas(self, request: Request) -> Response:  # noqa: ARG002
        """Who answers, for those who test and demonstrate. Only where everybody is let in anyway."""
        if not self._keys.let_everybody_in:
            return Response(status_code=404)
        try:
            return JSONResponse(await self._places.ask_all("about"))
        except BackendUnavailable:
            return JSONResponse([])

    async def nowhere(self, socket: WebSocket) -> None:
        """Whatever else somebody connects to."""
        await _turn_away(socket, 404, f"expected {TURNS_PATH} or {HEARTBEAT_PATH}, got {socket.url.path}")

    # -- a connection --------------------------------------------------------------------------------------------------

    async def _receive(self, socket: WebSocket, serve: Callable[[CallerSocket], Awaitable[None]]) -> None:
        """Serve one who may come in, and say what was wrong where something is."""
        if not self._keys.open(socket.headers.get("authorization")):
            await _turn_away(socket, 401, "expected a bearer token that is known here")
            return
        try:
            await socket.accept()
            try:
                await serve(CallerSocket(socket, self._load.now))
                await socket.close(NORMAL)
            except WireError as error:
                await socket.send_bytes(encode(refusal(WHOLE_TURN, error)))
                await socket.close(PROTOCOL_ERROR, error.code)
        except WebSocketDisconnect:
            logger.debug("a caller has hung up")

    async def _turn(self, caller: CallerSocket) -> None:
        opening, _ = await caller.receive(within_sec=self._settings.open_sec)
        assert isinstance(opening, Open), "the conduct of the turn lets nothing else through"
        ledger, turn = TurnLedger(opening), opening.turn
        speak_of_turn(turn.trace_context, turn_id=turn.turn_id, session_id=turn.session_id)
        trace = RelayTrace(
            self._spans, turn, parent=plain_carrier(turn.trace_context) or caller.trace_context, now=_now()
        )
        try:
            await self._relay(caller, ledger, trace)
        except WireError as error:
            trace.fail(error, _now())
            raise
        finally:
            trace.end(ledger, _now())

    async def _relay(self, caller: CallerSocket, ledger: TurnLedger, trace: RelayTrace) -> None:
        relay = TurnRelay(
            ledger,
            self._places,
            trace=trace,
            tries=self._settings.replicas_tried,
            welcome_sec=self._settings.welcome_sec,
            send=caller.send,
        )
        await first_ended(relay.run(), self._listen(caller, relay))

    async def _listen(self, caller: CallerSocket, relay: TurnRelay) -> None:
        """Until the caller hangs up or breaks the protocol."""
        within_sec = self._settings.idle_sec
        while True:
            message, data = await caller.receive(within_sec=within_sec)
            relay.say(message, data)
            if isinstance(message, Commit):
                within_sec = LONGEST_REPLY_SEC  # from now on the caller only listens

    async def _beat(self, caller: CallerSocket) -> None:
        while True:
            await caller.answer_ping(within_sec=LONGEST_PAUSE_SEC)


async def _turn_away(socket: WebSocket, status: int, why: str) -> None:
    """Refuse the connection before it is one."""
    await socket.send_denial_response(Response(why, status, media_type="text/plain"))


def _now() -> float:
    return asyncio.get_running_loop().time()
