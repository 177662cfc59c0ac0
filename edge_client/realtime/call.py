"""One call over WebRTC: a session that outlives its connections.

A caller whose link was cut comes back on a new peer connection and finds the session as it was: the conversation, a
turn that was not answered yet, the reply from where it was last heard, and the events that were missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

from edge_client.mouth import PacedMouth
from edge_client.realtime.connect_trace import ConnectTrace
from edge_client.realtime.dialogue import Dialogue
from edge_client.realtime.edge import Edge
from edge_client.realtime.guard import Visitor
from edge_client.realtime.half_open import HalfOpenCall
from edge_client.realtime.passage import Passage
from edge_client.realtime.sent_events import SentEvents
from edge_client.realtime.session_config import Json
from edge_client.turn_story import Reception
from edge_client.webrtc.peer import Peer, PeerSettings, PeerStatistics
from routing.errors import InvalidRequest
from routing.telemetry.phase import Carrier
from routing.turns import SPEECH_SAMPLE_RATE, Samples

logger = logging.getLogger(__name__)

# How much of a reply may have been sent into a cut link before the cut is noticed.
REMEMBER_SEC = 1.0


class Answered(NamedTuple):
    """The answer's SDP, and the trace of the connection."""

    description: str
    trace_id: str


class Call:
    """Made by an offer, carried by one peer at a time.

    It holds a place at the edge while a peer carries it. While it waits for a caller who vanished, others may have the
    place. ``tasks`` must outlive it. The session is that of ``passage``, whose connection was another edge's.
    """

    def __init__(
        self, call_id: str, edge: Edge, passage: Passage, tasks: asyncio.TaskGroup, *, address: str = ""
    ) -> None:
        self._connection: Carrier = {}  # the trace of the first one
        self.id = call_id
        self.token = edge.new_id("resume")  # whoever has it may go on with the session
        self.edge = edge
        self.grant = passage.grant
        self._visitor = Visitor(address, passage.grant.holder, passage.grant.issuer)
        self._passage = passage
        self._tasks = tasks
        self._place = ExitStack()
        self._answering = asyncio.Lock()  # one offer after the other: a caller may be hasty
        self._mouth = PacedMouth(remember_sec=REMEMBER_SEC)
        self._sent = SentEvents()
        self._dialogue: Dialogue | None = None
        self._line: _Line | None = None
        self._uncounted: list[_Line] = []  # whose figures the edge does not have yet: also those that are just ending
        self._changed = asyncio.Event()  # another peer has come, or nobody shall be waited for
        self._given_up = False
        self._came_about = False  # sound could flow, over any connection that has ended

    # -- peers ---------------------------------------------------------------------------------------------------------

    async def answer(
        self,
        offer: str,
        *,
        last_event_id: str | None = None,
        parent: Carrier | None = None,
        on_place: Callable[[], None] = lambda: None,
    ) -> Answered:
        """Take an offer and give the answer. A peer that carries the call already is let go.

        The trace of the connection belongs to that of ``parent``, which came with the offer. ``on_place`` is called
        when there is a place; what it raises refuses the offer.

        Raises:
            InvalidRequest: the offer cannot be taken, or the call has ended.
            AtCapacity: all places are taken.
        """
        trace = ConnectTrace(
            self.edge.telemetry,
            session_id=self._passage.session_id,
            parent=parent or {},
            now=_now(),
            before=self._connection or self._passage.connection,
        )
        try:
            async with self._answering:
                self._expect_to_go_on()
                if not self.carried:
                    self._place.enter_context(self.edge.place(self._visitor, returning=self._dialogue is not None))
                on_place()
                trace.admitted(_now())
                line = _Line(self, last_event_id, trace)
                line.peer = await Peer.answer(
                    offer,
                    listener=line,
                    read=self._mouth.read,
                    settings=self._peer_settings,
                    events_per_sec=self.edge.settings.limits.events_per_sec,
                )
                try:
                    self._expect_to_go_on()
                except InvalidRequest:
                    await line.peer.close()
                    raise
                self._switch(line)
        except Exception as fault:
            trace.refused(_now(), type(fault).__name__)
            raise
        finally:
            self._vacate()
        self._connection = self._connection or trace.carrier
        return Answered(line.peer.description, trace.trace_id)

    def _expect_to_go_on(self) -> None:
        if self._given_up:
            raise InvalidRequest("expected a call that goes on, got one that has ended", code="call_not_found")

    @property
    def carried(self) -> bool:
        """Whether there is a connection to the caller, and so a place taken."""
        return self._line is not None

    @property
    def _peer_settings(self) -> PeerSettings:
        settings = self.edge.settings
        return settings.peer.model_copy(update={"loopback": settings.peer.loopback or settings.on_loopback})

    def _vacate(self) -> None:
        """Let others have the place, unless a connection needs it, or one that is being answered is about to."""
        if not self.carried and not self._answering.locked():
            self._place.close()

    def _switch(self, line: _Line) -> None:
        old, self._line = self._line, line
        self._uncounted.append(line)
        self._changed.set()
        if old:
            self._came_about |= old.came_about
            old.drop()
            self._mouth.take_back()
            self._tasks.create_task(self._end(old))
        if not self._came_about:  # resuming it, over and over, costs no more than beginning it
            peer = line.peer
            self.edge.half_open.add(HalfOpenCall(self._visitor, _now(), lambda: peer.is_settled, self._give_way))

    def _give_way(self) -> None:
        """Somebody else needs the place, and the caller has not come."""
        logger.info("call %s does not come about, and gives way to another", self.id)
        self._place.close()
        self.hang_up()

    async def run(self) -> None:
        """Serve the call until either side ends it, or the caller has been gone for too long."""
        line = self._line
        assert line, "answer was not called"
        try:
            async with self.edge.conversation(
                replace(self._passage, connection=self._connection),
                mouth=self._mouth,
                sound="rtp",
                send=self._send,
                let_go=self.hang_up,
                dismiss=lambda _: self.hang_up(),
                reception=self._reception,
            ) as dialogue:
                self._dialogue = dialogue
                dialogue.greet()
                while line is not None:
                    line = await self._carry(line)
        finally:
            self._dialogue = None  # what still comes in comes too late
            self._given_up = True
            await self._leave()

    async def _carry(self, line: _Line) -> _Line | None:
        """Serve one connection to its end; returns the next one, if there is any."""
        looking = asyncio.get_running_loop().call_later(self.edge.settings.peer.connect_timeout_sec, line.connected)
        try:
            ending = await line.peer.run()
        finally:
            looking.cancel()
            await self._end(line)
        if self._line is not line:  # the caller was faster than we
            return self._line
        self._came_about |= line.came_about
        logger.info("a connection of call %s ended: %s", self.id, ending)
        cut = ending == "vanished" or (ending == "never connected" and self._came_about)
        return await self._next_line() if cut and not self._given_up else None

    async def _next_line(self) -> _Line | None:
        """Wait for the caller to call again, without a place meanwhile."""
        self._mouth.take_back()
        self._line = None
        self._vacate()
        self._changed.clear()
        with self.edge.absence(self._give_up):
            try:
                async with asyncio.timeout(self.edge.settings.peer.resume_timeout_sec):
                    await self._changed.wait()
            except TimeoutError:
                self._give_up()
        return self._line

    def _give_up(self) -> None:
        """Wait no longer. A caller who has just come stays."""
        self._given_up |= not self.carried
        self._changed.set()

    def hang_up(self) -> None:
        """Let `run` end soon. From now on the call cannot be resumed."""
        self._given_up = True
        self._changed.set()
        if self._line:
            self._line.peer.finish()

    async def _leave(self) -> None:
        self._place.close()
        for line in list(self._uncounted):
            await self._end(line)
        self.edge.half_open.forget_settled()

    async def _end(self, line: _Line) -> None:
        line.connected()
        await line.peer.close()
        if line in self._uncounted:
            self._uncounted.remove(line)
            self.edge.media.ended(line.peer.statistics())

    def statistics(self) -> list[PeerStatistics]:
        """Of its connections, but for those that the edge has counted."""
        return [line.peer.statistics() for line in self._uncounted]

    def _reception(self) -> Reception | None:
        """How the caller's sound came through so far."""
        if not self._line:
            return None
        jitter = self._line.peer.statistics().receiver.jitter
        lost_sec = (jitter.recovered + jitter.concealed) / SPEECH_SAMPLE_RATE
        return Reception(lost_packets=jitter.lost, concealed_sec=lost_sec, delay_sec=jitter.delay_sec)

    # -- what passes between the peer and the dialogue -----------------------------------------------------------------

    def _send(self, event: Json) -> None:
        text = self._sent.add(event)
        if self._line:
            self._line.send(text)

    def opened(self, line: _Line) -> None:
        """Events can be sent over this line: the first ones, or those that the caller has missed."""
        for text in self._sent.after(line.last_event_id):
            line.send(text)

    def heard(self, samples: Samples) -> None:
        if self._dialogue:
            self._dialogue.session.hear(samples)

    def received(self, text: str) -> None:
        if self._dialogue:
            self._dialogue.receive(text)

    def refused(self, fault: InvalidRequest) -> None:
        if self._dialogue:
            self._dialogue.refuse(fault)

    def acknowledged(self) -> None:
        self._mouth.acknowledge()

    def lost(self) -> None:
        self._mouth.take_back()


class _Line:
    """A peer's listener: passes everything on, until another peer has taken over."""

    peer: Peer

    def __init__(self, call: Call, last_event_id: str | None, trace: ConnectTrace) -> None:
        self.last_event_id = last_event_id
        self._trace = trace
        self._call: Call | None = call
        self._on_connected = call.edge.metrics.note_connection
        self._open = False

    @property
    def came_about(self) -> bool:
        """Whether sound could flow."""
        return self.peer.moments.connected is not None

    def connected(self) -> None:
        """The connection is there, or will never be: its trace can be written. Once counts."""
        self._trace.over(self.peer.moments, _now(), on_connected=self._on_connected)

    def drop(self) -> None:
        self._call = None
        self.peer.finish()

    def send(self, text: str) -> None:
        if self._open:
            self.peer.send(text)

    def opened(self) -> None:
        self._open = True
        if self._call:
            self._call.opened(self)

    def heard(self, samples: Samples) -> None:
        if self._call:
            self._call.heard(samples)

    def received(self, text: str) -> None:
        if self._call:
            self._call.received(text)

    def refused(self, fault: InvalidRequest) -> None:
        if self._call:
            self._call.refused(fault)

    def acknowledged(self) -> None:
        if self._call:
            self._call.acknowledged()

    def lost(self) -> None:
        if self._call:
            self._call.lost()


def _now() -> float:
    return asyncio.get_running_loop().time()
