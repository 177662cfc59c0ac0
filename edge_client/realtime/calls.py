"""Calls over WebRTC: each is a peer, a session and a dialogue that end together."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import ExitStack
from typing import NamedTuple

from edge_client.conversation import new_id
from edge_client.mouth import PacedMouth
from edge_client.realtime.dialogue import Dialogue
from edge_client.realtime.edge import Edge
from edge_client.realtime.session_config import Json, SessionConfig
from edge_client.webrtc.peer import Peer
from routing.errors import InvalidRequest
from routing.turns import Samples

logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What the offer's sender gets: the id of the call and the answer's SDP."""

    call_id: str
    description: str


class Call:
    """One caller over WebRTC. The peer tells it what comes in; the dialogue gives it what goes out."""

    def __init__(self, edge: Edge, config: SessionConfig) -> None:
        self.id = new_id("rtc")
        self._edge = edge
        self._config = config
        self._mouth = PacedMouth()
        self._dialogue: Dialogue | None = None
        self._peer: Peer | None = None

    async def answer(self, offer: str) -> str:
        """Take the offer and give the answer.

        Raises:
            InvalidRequest: the offer cannot be taken.
        """
        settings = self._edge.settings
        peer_settings = settings.peer.model_copy(update={"loopback": settings.peer.loopback or settings.on_loopback})
        self._peer = await Peer.answer(offer, listener=self, read=self._mouth.read, settings=peer_settings)
        return self._peer.description

    async def run(self) -> None:
        """Serve the call until either side ends it; cancelling hangs up."""
        assert self._peer, "answer was not called"
        try:
            async with self._edge.conversation(
                self.id, mouth=self._mouth, sound="rtp", send=self._send, config=self._config
            ) as dialogue:
                self._dialogue = dialogue
                try:
                    reason = await self._peer.run()
                finally:
                    self._dialogue = None  # what still comes in comes too late
            logger.info("call %s ended: %s", self.id, reason)
        finally:
            await self._peer.close()

    def _send(self, event: Json) -> None:
        if self._peer:
            self._peer.send(json.dumps(event))

    # -- what the peer tells (a PeerListener) ------------------------------------------------------------------------

    def heard(self, samples: Samples) -> None:
        if self._dialogue:
            self._dialogue.session.hear(samples)

    def opened(self) -> None:
        if self._dialogue:
            self._dialogue.greet()

    def received(self, text: str) -> None:
        if self._dialogue:
            self._dialogue.receive(text)


class Calls:
    """The calls in progress. ``tasks`` must outlive them; `close` hangs up all of them."""

    def __init__(self, edge: Edge, tasks: asyncio.TaskGroup) -> None:
        self._edge = edge
        self._tasks = tasks
        self._running: dict[str, asyncio.Task[None]] = {}

    async def begin(self, offer: str, session: Json) -> Answer:
        """Answer an offer, and serve the call from then on.

        Raises:
            AtCapacity: all places are taken.
            InvalidRequest: the offer or the session settings cannot be honoured.
        """
        call = Call(self._edge, SessionConfig().updated(session))
        with ExitStack() as stack:
            stack.enter_context(self._edge.place())
            description = await call.answer(offer)
            self._serve(call, stack.pop_all())
        return Answer(call.id, description)

    def _serve(self, call: Call, place: ExitStack) -> None:
        task = self._tasks.create_task(_serve(call, place))
        self._running[call.id] = task
        task.add_done_callback(lambda _: self._running.pop(call.id))

    def hang_up(self, call_id: str) -> None:
        """End a call.

        Raises:
            InvalidRequest: there is no such call.
        """
        if call_id not in self._running:
            raise InvalidRequest(f"there is no call {call_id!r}", code="call_not_found", param="call_id")
        self._running[call_id].cancel()

    def close(self) -> None:
        for task in list(self._running.values()):
            task.cancel()


async def _serve(call: Call, place: ExitStack) -> None:
    with place:
        try:
            await call.run()
        except Exception:  # one call's fault must not end the others
            logger.exception("call %s failed", call.id)
