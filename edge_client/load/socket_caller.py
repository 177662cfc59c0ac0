"""A caller over WebSocket: speaks recordings in real time, and knows when each sample of a reply could be played.

The twin of `edge_client.caller.client.Caller` for servers of OpenAI Realtime that are called over WebSocket. What it
measures is what that one measures; the network's part is TCP, and there is no jitter buffer.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from edge_client.audio import float_to_pcm16, pcm16_to_float
from edge_client.caller.client import OnEvent
from edge_client.caller.line import ENDED, until
from edge_client.caller.measure import Interval
from edge_client.caller.microphone import MICROPHONE_RATE, Microphone
from edge_client.caller.packets import Packets
from edge_client.caller.recorder import Arrival
from edge_client.caller.signalling import calls_url
from edge_client.caller.spoken import Reply, SpokenTurn
from edge_client.straight import connect_straight
from edge_client.upstream.faults import from_connecting
from routing.errors import AtCapacity, BackendUnavailable, InvalidRequest
from routing.turns import REPLY_SAMPLE_RATE, AudioChunk, Samples

FRAME_SEC: Final = 0.02
CONNECT_TIMEOUT_SEC: Final = 10.0
CLOSE_TIMEOUT_SEC: Final = 2.0
QUIET_SEC: Final = 0.25  # after the last sound of a reply was played
MAXIMUM_MESSAGE_BYTES: Final = 16 * 1024 * 1024
HTTP_SCHEMES: Final = {"ws": "http", "wss": "https"}

_quiet = logging.getLogger(f"{__name__}.websocket")  # the library's own would write down headers and words
_quiet.setLevel(logging.WARNING)

type Json = dict[str, Any]


def socket_url(url: str, *, model: str | None = None) -> str:
    """Where a server takes WebSockets: ``url`` as for calls over WebRTC, or of the scheme ``ws``.

    Raises:
        InvalidRequest: it is no address.
    """
    scheme, divider, rest = url.partition("://")
    parts = urlsplit(calls_url(HTTP_SCHEMES.get(scheme, scheme) + divider + rest, model=model))
    path = parts.path.removesuffix("/calls")
    return urlunsplit(("wss" if parts.scheme == "https" else "ws", parts.netloc, path, parts.query, ""))


class SocketCaller:
    """One call. Made by `connect`; everything runs on one event loop."""

    resumed = 0  # a session ends with its connection

    def __init__(self, connection: ClientConnection, *, on_event: OnEvent, connect_sec: float) -> None:
        self.connect_sec = connect_sec
        self._connection = connection
        self._on_event = on_event
        self._microphone = Microphone(time.monotonic)
        self._turn: SpokenTurn | None = None
        self._played_at = float("-inf")  # when the last sound that came will have been played
        self._is_over = False

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        *,
        key: str | None = None,
        model: str | None = None,
        session: Mapping[str, Any] | None = None,
        on_event: OnEvent = lambda event: None,
    ) -> AsyncIterator[SocketCaller]:
        """Call ``url``, and hang up on leaving. ``on_event`` is told everything the server says.

        Raises:
            BackendUnavailable, AtCapacity, InvalidRequest: there is no call; the message says why.
        """
        began = time.monotonic()
        connection = await _connected(socket_url(url, model=model), key)
        caller = cls(connection, on_event=on_event, connect_sec=time.monotonic() - began)
        work = [asyncio.create_task(part) for part in (caller._listen(), caller._speak())]
        try:
            if session:
                await caller.send({"type": "session.update", "session": dict(session)})
            yield caller
        finally:
            for task in work:
                task.cancel()
            await asyncio.wait(work)
            await connection.close()

    async def send(self, event: Json) -> None:
        """Send a client event.

        Raises:
            BackendUnavailable: the call has ended.
        """
        try:
            await self._connection.send(json.dumps(event))
        except ConnectionClosed as exc:
            self._is_over = True
            raise BackendUnavailable(ENDED) from exc

    # -- a turn --------------------------------------------------------------------------------------------------------

    async def say(self, samples: Samples) -> SpokenTurn:
        """Speak a recording (mono, `MICROPHONE_RATE`) and return when its last sample of speech has passed.

        Raises:
            InvalidRequest: there is no speech in it.
            BackendUnavailable: the call has ended.
        """
        spoken: list[Interval] = []
        self._microphone.say(samples, spoken.append)
        turn = self._turn = SpokenTurn()
        await self._until(lambda: bool(spoken), None)
        turn.speech = spoken[0]
        return turn

    async def reply(self, timeout: float) -> Reply:
        """What the last thing said brought: returns when all of it was played, or with what there is by then."""
        turn = self._turn
        assert turn is not None, "nothing was said"
        await self._until(lambda: turn.watch.finished and time.monotonic() > self._played_at + QUIET_SEC, timeout)
        return turn.reply()

    async def stay(self, seconds: float) -> None:
        """Say nothing for so long.

        Raises:
            BackendUnavailable: the call has ended.
        """
        await self._until(lambda: False, seconds)

    async def _until(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        return await until(condition, timeout, is_over=lambda: self._is_over)

    def packets(self) -> Packets:
        """None are lost on the way."""
        return Packets()

    # -- the connection ------------------------------------------------------------------------------------------------

    async def _speak(self) -> None:
        due = time.monotonic()
        try:
            while True:
                sound = self._microphone.read(round(FRAME_SEC * MICROPHONE_RATE))
                audio = base64.b64encode(float_to_pcm16(sound)).decode()
                await self._connection.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
                due = max(due + FRAME_SEC, time.monotonic() - FRAME_SEC)  # who is late begins a new pace
                await asyncio.sleep(due - time.monotonic())
        except ConnectionClosed:
            self._is_over = True

    async def _listen(self) -> None:
        try:
            async for message in self._connection:
                self._take(message)
        except ConnectionClosed:
            pass  # without the due farewell
        finally:
            self._is_over = True

    def _take(self, message: str | bytes) -> None:
        try:
            event = json.loads(message)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            return
        if event.get("type") == "response.output_audio.delta":
            self._hear(str(event.get("delta", "")))
        if self._turn:
            self._turn.watch.feed(event)
        self._on_event(event)

    def _hear(self, delta: str) -> None:
        samples = _decoded(delta)
        if not len(samples):
            return
        arrival = Arrival(time.monotonic(), AudioChunk(samples, REPLY_SAMPLE_RATE))
        self._played_at = max(self._played_at, arrival.at) + arrival.chunk.duration_sec
        if self._turn:
            self._turn.recorder.write(arrival)


def _decoded(delta: str) -> Samples:
    try:
        return pcm16_to_float(base64.b64decode(delta))
    except (ValueError, InvalidRequest):  # a server under test may send anything
        return pcm16_to_float(b"")


async def _connected(address: str, key: str | None) -> ClientConnection:
    encrypted = address.startswith("wss:")
    calling = connect_straight(
        address,
        additional_headers={"Authorization": f"Bearer {key}"} if key else {},
        ssl=await asyncio.to_thread(ssl.create_default_context) if encrypted else None,
        open_timeout=CONNECT_TIMEOUT_SEC,
        close_timeout=CLOSE_TIMEOUT_SEC,
        compression=None,
        ping_interval=None,
        max_size=MAXIMUM_MESSAGE_BYTES,
        proxy=None,
        logger=_quiet,
    )
    try:
        return await calling
    except InvalidStatus as refusal:
        raise _refusal(refusal, address) from refusal
    except (OSError, WebSocketException, EOFError) as fault:
        raise BackendUnavailable(f"{address}: {from_connecting(fault)}") from fault


def _refusal(refusal: InvalidStatus, address: str) -> Exception:
    fault = from_connecting(refusal)
    if isinstance(fault, AtCapacity | BackendUnavailable):
        return fault
    return InvalidRequest(f"{address}: {fault}", code="refused")
