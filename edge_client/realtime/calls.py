"""The calls over WebRTC that an edge has: begun by an offer, resumed by another one, hung up by their id."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import NamedTuple

from edge_client.realtime.call import Call
from edge_client.realtime.edge import Edge
from edge_client.realtime.keys import EVERYTHING, Grant
from edge_client.realtime.passage import Passage
from edge_client.realtime.session_config import Json, SessionConfig
from routing.errors import InvalidRequest
from routing.telemetry.phase import Carrier

logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What the offer's sender gets: the call's id, the token that resumes it, the answer's SDP, and the trace's id."""

    call_id: str
    token: str
    description: str
    trace_id: str


class Calls:
    """The calls in progress. ``tasks`` must outlive them; `close` hangs up all of them."""

    def __init__(self, edge: Edge, tasks: asyncio.TaskGroup) -> None:
        self._edge = edge
        self._tasks = tasks
        self._by_id: dict[str, Call] = {}
        self._by_token: dict[str, Call] = {}

    def __iter__(self) -> Iterator[Call]:
        return iter(self._by_id.values())

    async def begin(
        self,
        offer: str,
        session: Json,
        *,
        grant: Grant = EVERYTHING,
        address: str = "",
        parent: Carrier | None = None,
    ) -> Answer:
        """Answer an offer, and serve the call from then on. Its connection belongs to the trace of ``parent``.

        The ``session`` settings come on top of those that the caller's ``grant`` brings.

        Raises:
            AtCapacity: all places are taken.
            InvalidRequest: the offer or the session settings cannot be honoured.
            TooManyRequests: this ``address``, or the grant's holder, has as many calls as it may have.
        """
        config = SessionConfig().updated(grant.session).updated(session)
        call_id = self._edge.new_id("rtc")
        call = Call(
            call_id, self._edge, Passage(session_id=call_id, config=config, grant=grant), self._tasks, address=address
        )
        with self._edge.half_open.answering(address):
            answered = await call.answer(offer, parent=parent)
        self._serve(call)
        return Answer(call.id, call.token, answered.description, answered.trace_id)

    async def restore(self, ticket: str, offer: str, *, address: str = "", parent: Carrier | None = None) -> Answer:
        """Go on with a session that another edge has let go, in a call of its own.

        Raises:
            Unauthorized: the ticket is none, has expired, or was used.
            AtCapacity: all places are taken; the ticket is still good.
            TooManyRequests: likewise, for this ``address`` or this holder.
            InvalidRequest: an edge of another version wrote the ticket, or the offer cannot be honoured.
        """
        tickets = self._edge.tickets
        passage = await asyncio.to_thread(tickets.read, ticket, now=time.time())
        call = Call(self._edge.new_id("rtc"), self._edge, passage, self._tasks, address=address)
        async with tickets.redeeming(passage) as redeem:
            with self._edge.half_open.answering(address):
                answered = await call.answer(offer, parent=parent, on_place=redeem)
        self._edge.metrics.note_moved("restored")
        self._serve(call)
        return Answer(call.id, call.token, answered.description, answered.trace_id)

    async def resume(
        self, token: str, offer: str, *, last_event_id: str | None, parent: Carrier | None = None
    ) -> Answer:
        """Go on with a call on the connection that is offered; ``last_event_id`` names the last event that came.

        Raises:
            AtCapacity: the caller was away, and all places are taken now.
            InvalidRequest: there is no such call any more, or the offer cannot be honoured.
        """
        call = self._by_token.get(token)
        if call is None:
            raise InvalidRequest("expected the token of a call that goes on, got another", code="call_not_found")
        answered = await call.answer(offer, last_event_id=last_event_id, parent=parent)
        return Answer(call.id, call.token, answered.description, answered.trace_id)

    def _serve(self, call: Call) -> None:
        task = self._tasks.create_task(_serve(call))
        self._by_id[call.id] = call
        self._by_token[call.token] = call
        task.add_done_callback(lambda _: self._forget(call))

    def _forget(self, call: Call) -> None:
        del self._by_id[call.id]
        del self._by_token[call.token]

    def hang_up(self, call_id: str, *, grant: Grant = EVERYTHING) -> None:
        """End a call. It cannot be resumed from now on, although it takes a moment to end.

        Raises:
            InvalidRequest: there is no such call, or none that the ``grant`` rules: that is not told apart.
        """
        call = self._by_id.get(call_id)
        if call is None or not grant.rules(call.grant):
            raise InvalidRequest(f"there is no call {call_id!r}", code="call_not_found", param="call_id")
        call.hang_up()

    def close(self) -> None:
        for call in self:
            call.hang_up()


async def _serve(call: Call) -> None:
    try:
        await call.run()
    except Exception:  # one call's fault must not end the others
        logger.exception("call %s failed", call.id)
