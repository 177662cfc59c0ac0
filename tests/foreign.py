"""A voice server that speaks another dialect: a real aiortc peer behind one HTTP route, with no event of ours."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from fastapi import FastAPI

from edge_client.playout import Playout
from edge_client.webrtc.ice import Ice
from edge_client.webrtc.playout_track import PlayoutTrack
from edge_client.webrtc.receiver import Receiver
from routing.turns import SPEECH_SAMPLE_RATE, Samples
from tests.scripted import tone

HANGOVER_SEC = 0.2
LOUD_RMS = 0.02


@dataclass(slots=True)
class ForeignServer:
    """What it was told. ``answers`` of the turns of each call are answered; then it hangs up, if it ``hangs_up``."""

    url: str = ""
    answers: int = 100
    hangs_up: bool = False
    channels: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    offers: list[dict[str, Any]] = field(default_factory=list)
    calls: list[_Call] = field(default_factory=list)

    async def take(self, offer: dict[str, Any]) -> dict[str, Any]:
        self.offers.append(offer)
        call = _Call(self)
        self.calls.append(call)
        return {"sdp": await call.answer(offer["sdp"]), "type": "answer", "pc_id": "1"}


class _Call:
    """Answers with a tone whatever was loud and then quiet for `HANGOVER_SEC`."""

    def __init__(self, server: ForeignServer) -> None:
        self._server = server
        self._answered = 0
        self._quiet_samples = 0
        self._spoken = False
        self._playout = Playout(capacity_sec=10)
        self._closing: asyncio.Task[None] | None = None
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.on("datachannel", self._note_channel)

    async def answer(self, sdp: str) -> str:
        connection = self.connection
        await connection.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        (transceiver,) = connection.getTransceivers()
        transceiver.direction = "sendrecv"
        transceiver.sender.replaceTrack(PlayoutTrack(self._playout.read))
        Receiver(transceiver.receiver, self._hear)
        answer = await connection.createAnswer()
        Ice(addresses=None, loopback=True).guard(connection)
        await connection.setLocalDescription(answer)
        description: str = connection.localDescription.sdp
        return description

    def _note_channel(self, channel: RTCDataChannel) -> None:
        self._server.channels.append(channel.label)
        channel.on("message", self._server.messages.append)

    def _hear(self, samples: Samples) -> None:
        loud = float(np.sqrt(np.mean(samples**2))) > LOUD_RMS
        self._spoken |= loud
        self._quiet_samples = 0 if loud else self._quiet_samples + len(samples)
        if self._spoken and self._quiet_samples >= HANGOVER_SEC * SPEECH_SAMPLE_RATE:
            self._spoken = False
            self._reply()

    def _reply(self) -> None:
        if self._answered < self._server.answers:
            self._playout.begin()
            self._playout.write(tone(0.4))
            self._playout.finish()
        elif self._server.hangs_up:
            self._closing = asyncio.create_task(self.connection.close())
        self._answered += 1

    async def close(self) -> None:
        if self._closing:
            await self._closing
        await self.connection.close()


@asynccontextmanager
async def foreign_server(path: str, *, answers: int = 100, hangs_up: bool = False) -> AsyncIterator[ForeignServer]:
    """Takes calls at ``path`` on loopback until the block ends."""
    server = ForeignServer(answers=answers, hangs_up=hangs_up)
    app = FastAPI()
    app.post(path)(server.take)
    try:
        async with served(app) as address:
            server.url = address + path
            yield server
    finally:
        for call in server.calls:
            await call.close()


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """``app`` on a free port of loopback."""
    started = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = _Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=2, lifespan="off"))
        server.on_started = started.set
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listening]))
            await started.wait()
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            finally:
                server.should_exit = True


class _Server(uvicorn.Server):
    """Tells when it takes requests."""

    on_started: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_started()
