"""What all callers of one edge share, and how a conversation is opened for one of them."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from edge_client.conversation import new_id
from edge_client.hearing import Hearing
from edge_client.mouth import Mouth
from edge_client.realtime.dialogue import Dialogue, Sound
from edge_client.realtime.drain import Drain, Leaver, depart
from edge_client.realtime.edge_metrics import EdgeMetrics
from edge_client.realtime.guard import NOBODY, Guard, Visitor
from edge_client.realtime.half_open import HalfOpenCalls
from edge_client.realtime.key_files import first_ring
from edge_client.realtime.keys import KeyRing
from edge_client.realtime.passage import Passage
from edge_client.realtime.session_clock import Farewell, SessionClock
from edge_client.realtime.session_config import Json
from edge_client.realtime.session_watch import watch_session
from edge_client.realtime.statistics import MediaTotals
from edge_client.realtime.ticket import Tickets
from edge_client.session import SessionParts, open_session
from edge_client.session_events import SessionEvent
from edge_client.settings import EdgeSettings
from edge_client.turn_story import Reception
from edge_client.turn_trace import SessionTracing
from edge_client.workers.crew import Crew
from routing.errors import AtCapacity, InvalidRequest
from routing.telemetry import names
from routing.telemetry.program import Telemetry
from routing.turns import Backend


class Edge:
    """The parts that every session uses, and the number of sessions there may be.

    One of several workers has a ``crew``, and of the settings' sessions its share. ``routing`` tells who answers turns.
    """

    def __init__(
        self,
        *,
        settings: EdgeSettings,
        hearing: Hearing,
        backend: Backend,
        telemetry: Telemetry | None = None,
        metrics: EdgeMetrics | None = None,
        crew: Crew | None = None,
        keys: KeyRing | None = None,
        routing: Callable[[], Json] = dict,
    ) -> None:
        self.settings = settings
        self.telemetry = telemetry or Telemetry.silent()
        self.metrics = metrics or EdgeMetrics(self.telemetry.instruments)
        self.routing = routing
        self.crew = crew
        self.keys = keys or first_ring(settings, crew)
        self.tickets = Tickets(self.keys)
        self.drain = Drain()
        self.guard = Guard(
            settings.limits,
            is_open=settings.development,
            workers=settings.workers,
            on_refused=self.metrics.note_refused,
        )
        self.half_open = HalfOpenCalls(
            per_address=0 if settings.development else settings.limits.connecting_per_address,
            on_refused=self.metrics.note_refused,
        )
        self.media = MediaTotals()
        self._hearing = hearing
        self._backend = backend
        self._sessions = 0
        self._going_on: dict[str, Callable[[], None]] = {}  # by session: what ends it
        self._absent: OrderedDict[object, Callable[[], None]] = OrderedDict()

    def _now_ms(self) -> float:
        """Milliseconds since 1970, by the clock of the traces. The event loop's own tells whole ones only."""
        return self.telemetry.spans(names.EDGE).clock.epoch_ns(time.monotonic()) / 1e6

    def new_id(self, prefix: str) -> str:
        """An id by which others may ask for something of this edge: unguessable, unique, and naming its worker."""
        return new_id(self.crew.mark(prefix) if self.crew else prefix)

    @property
    def sessions(self) -> int:
        """How many callers are connected."""
        return self._sessions

    @contextmanager
    def place(self, visitor: Visitor = NOBODY, *, returning: bool = False) -> Iterator[None]:
        """A place for one more session, or for one of ours whose caller is ``returning``.

        A call that does not come about may have to give way.

        Raises:
            AtCapacity: there is none, or nobody new is taken any more.
            TooManyRequests: this visitor has as many as it may have.
        """
        if self.drain.is_draining and not returning:
            raise AtCapacity("expected an edge that stays, this one is draining: call again", retry_after_sec=1)
        with self.guard.session(visitor):
            self._expect_place(visitor)
            self._count(1)
            try:
                yield
            finally:
                self._count(-1)

    def _expect_place(self, visitor: Visitor) -> None:
        places = self.settings.maximum_sessions
        if self._sessions >= places:
            self.half_open.make_room(visitor, asyncio.get_running_loop().time())
        if self._sessions >= places:
            raise AtCapacity(f"expected fewer than {places} sessions, all places are taken", retry_after_sec=5)

    def _count(self, more: int) -> None:
        self._sessions += more
        if self.crew:
            self.crew.report(self._sessions)

    @contextmanager
    def absence(self, give_up: Callable[[], None]) -> Iterator[None]:
        """A session that waits for its caller. There may be as many as places; the one that waits longest must go."""
        waiting = object()
        self._absent[waiting] = give_up
        if len(self._absent) > self.settings.maximum_sessions:
            _, give_up_longest = self._absent.popitem(last=False)
            give_up_longest()
        try:
            yield
        finally:
            self._absent.pop(waiting, None)

    @contextmanager
    def _only_one(self, session_id: str, let_go: Callable[[], None]) -> Iterator[None]:
        """A session goes on in one place: what comes with its next ticket ends what began with the one before."""
        before = self._going_on.get(session_id)
        self._going_on[session_id] = let_go
        if before:
            before()
        try:
            yield
        finally:
            if self._going_on.get(session_id) is let_go:
                del self._going_on[session_id]

    @asynccontextmanager
    async def conversation(
        self,
        passage: Passage,
        *,
        mouth: Mouth,
        sound: Sound,
        send: Callable[[Json], None],
        let_go: Callable[[], None],
        dismiss: Callable[[Farewell], None] = lambda farewell: None,
        reception: Callable[[], Reception | None] = lambda: None,
    ) -> AsyncIterator[Dialogue]:
        """A session that speaks the protocol until the block ends. Its turns' traces link to its connection's.

        It begins, or goes on, from ``passage``. Where the edge drains, ``let_go`` is asked to end the block; where the
        session has lasted too long or is idle, the caller is told and then ``dismiss`` is.
        """
        session_id, config = passage.session_id, passage.config
        taking, privacy = self.settings.turn_taking, self.settings.privacy
        options = config.options(taking, privacy)
        now = asyncio.get_running_loop().time
        clock = SessionClock(self.settings.limits, now=now(), lasted_sec=passage.lasted_sec)
        dialogue = Dialogue(
            send=send,
            sound=sound,
            config=config,
            turn_taking=taking,
            privacy=privacy,
            now_ms=self._now_ms,
            on_asked=lambda: clock.asked(now()),
        )

        def emit(event: SessionEvent) -> None:
            clock.happened(event, now())
            dialogue.emit(event)

        def tell(farewell: Farewell) -> None:
            dialogue.refuse(InvalidRequest(farewell.message, code=farewell.code))

        parts = SessionParts(
            backend=self._backend,
            ears=self._hearing.new_ears(options.endpointer),
            judge=self._hearing.judge,
            mouth=mouth,
            emit=emit,
            tracing=SessionTracing(
                session_id, self.telemetry, on_turn=self.metrics.note_turn, connection=passage.connection
            ),
            reception=reception,
            chunk_ms=self.settings.chunk_ms,
        )
        with self.drain.guest(), self._only_one(session_id, let_go):
            async with open_session(session_id, parts, options=options, past=passage.past) as session:
                dialogue.start(session)
                leaver = Leaver(
                    dialogue=dialogue,
                    passage=passage,
                    send=send,
                    let_go=let_go,
                    lasted_sec=lambda: clock.lasted_sec(now()),
                )
                session.accompany(depart(self.drain, self.tickets, leaver, self.metrics.note_moved))
                session.accompany(watch_session(clock, tell=tell, dismiss=dismiss))
                yield dialogue
