"""What a session of a draining edge is given while it goes on being used."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from edge_client.past import NO_PAST, Past
from edge_client.realtime.drain import Drain, Leaver, depart
from edge_client.realtime.edge_metrics import Move
from edge_client.realtime.keys import KeyRing
from edge_client.realtime.passage import Passage
from edge_client.realtime.session_config import SessionConfig
from edge_client.realtime.ticket import Ticket, Tickets


class CoughedIn:
    """A session in which nothing is said: its past stays as it is."""

    mark = (1, 1, 0)

    def __init__(self) -> None:
        self.coughs = 0  # looks at which somebody coughs

    @property
    def is_at_rest(self) -> bool:
        self.coughs -= 1
        return self.coughs < 0

    def past(self) -> Past:
        return NO_PAST


class SlowTickets(Tickets):
    """While the first one is written somebody coughs."""

    def __init__(self, session: CoughedIn) -> None:
        super().__init__(KeyRing([], signing_keys=[b"a key"], is_open=True))
        self._session = session
        self._written = 0

    def write(self, passage: Passage, *, now: float) -> Ticket | None:
        self._written += 1
        self._session.coughs = int(self._written == 1)
        return super().write(passage, now=now)


async def test_who_coughs_while_the_ticket_is_written_gets_another_one() -> None:
    told: list[dict[str, Any]] = []
    left: list[Move] = []
    session, drain = CoughedIn(), Drain()
    tickets = SlowTickets(session)
    leaver = Leaver(
        dialogue=cast(Any, SimpleNamespace(session=session, config=SessionConfig())),
        passage=Passage(session_id="rtc_1", config=SessionConfig()),
        send=told.append,
        let_go=lambda: None,
        lasted_sec=lambda: 0.0,
    )
    drain.begin(60.0)
    leaving = asyncio.create_task(depart(drain, tickets, leaver, left.append))
    async with asyncio.timeout(3):
        while len(told) < 2:
            await asyncio.sleep(0.01)
    leaving.cancel()
    await asyncio.wait([leaving])
    assert [event["type"] for event in told] == ["antiphon.server.draining", "antiphon.session.ticket"]
    assert tickets.read(told[1]["ticket"], now=0).serial == 1
    assert left == ["ticket"]
