"""The door of the cloud tier: a WebSocket for each turn, and one for heartbeats."""

from __future__ import annotations

import asyncio
import logging
from hmac import compare_digest

from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from deployments.caller_socket import CallerSocket
from deployments.load_watch import LoadWatch
from deployments.seats import ServeSeats
from deployments.served_turn import WHOLE_TURN, refusal
from deployments.settings import IngressSettings
from deployments.turn_ledger import TurnLedger
from deployments.turn_relay import TurnRelay
from routing.wire import Commit, Open, Ping, Pong, WireError, encode

logger = logging.getLogger(__name__)

NORMAL, PROTOCOL_ERROR = 1000, 1002  # why a WebSocket is closed, by RFC 6455
LONGEST_REPLY_SEC = 600.0


class Ingress:
    """Lets callers in, checks what they say, and passes it on to the replica that remembers their session."""

    def __init__(self, replicas: DeploymentHandle, settings: IngressSettings) -> None:
        self._settings = settings
        self._seats = ServeSeats(replicas, reserve_sec=settings.reserve_sec)
        self._load = LoadWatch(self._seats.loads, every_sec=settings.load_every_sec)

    def __serve_build_asgi_app__(self) -> Starlette:
        """Called by Ray: what it serves."""
        return Starlette(
            routes=[
                WebSocketRoute("/v1/turns", self.turns),
                WebSocketRoute("/v1/heartbeat", self.heartbeat),
                Route("/v1/replicas", self.replicas),
            ]
        )

    async def turns(self, socket: WebSocket) -> None:
        """One turn: see `routing.wire`. Closing the connection cancels it."""
        if not await self._let_in(socket):
            return
        caller = CallerSocket(socket)
        try:
            await self._turn(caller)
            await socket.close(NORMAL)
        except WireError as error:
            await _object(socket, error)
        except WebSocketDisconnect:
            logger.debug("a caller cancelled a turn")

    async def _turn(self, caller: CallerSocket) -> None:
        opening, _ = await caller.receive(within_sec=self._settings.open_sec)
        assert isinstance(opening, Open), "the conduct of the turn lets nothing else through"
        ledger = TurnLedger(opening)
        relay = TurnRelay(ledger, self._seats, tries=self._settings.replicas_tried, send=caller.send)
        listening = asyncio.create_task(self._listen(caller, relay))
        telling = asyncio.create_task(relay.run())
        try:
            await asyncio.wait([listening, telling], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listening, telling):
                task.cancel()
            await asyncio.wait([listening, telling])
        for task in (telling, listening):
            if not task.cancelled():
                task.result()

    async def _listen(self, caller: CallerSocket, relay: TurnRelay) -> None:
        """Until the caller hangs up or breaks the protocol."""
        within_sec: float | None = self._settings.idle_sec
        while True:
            message, data = await caller.receive(within_sec=within_sec)
            if isinstance(message, Ping):
                continue
            relay.say(message, data)
            if isinstance(message, Commit):
                within_sec = LONGEST_REPLY_SEC  # from now on the caller only listens

    async def heartbeat(self, socket: WebSocket) -> None:
        """A `Pong` for each `Ping`, with how full the cloud is."""
        if not await self._let_in(socket):
            return
        caller = CallerSocket(socket)
        try:
            while True:
                ping = await caller.receive_any()
                if not isinstance(ping, Ping):
                    raise WireError(f"expected Ping, got {type(ping).__name__}")
                await socket.send_bytes(encode(Pong(ping.number, await self._load.now())))
        except WireError as error:
            await _object(socket, error)
        except WebSocketDisconnect:
            logger.debug("a caller's heart beats no more")

    async def replicas(self, request: Request) -> Response:  # noqa: ARG002
        """Who answers, for those who test and demonstrate. Only where everybody is let in anyway."""
        if self._settings.keys:
            return Response(status_code=404)
        return JSONResponse(await self._seats.ask_all("about"))

    async def _let_in(self, socket: WebSocket) -> bool:
        """Accept the connection, unless a key is asked for that it does not bring."""
        given = socket.headers.get("authorization", "").removeprefix("Bearer ").encode()
        keys = [key.encode() for key in self._settings.keys]
        if keys and not any(compare_digest(given, key) for key in keys):
            await socket.send_denial_response(Response("expected a bearer token that is known here", 401))
            return False
        await socket.accept()
        return True


async def _object(socket: WebSocket, error: WireError) -> None:
    """Say what was wrong, and hang up."""
    await socket.send_bytes(encode(refusal(WHOLE_TURN, error)))
    await socket.close(PROTOCOL_ERROR, error.code)
