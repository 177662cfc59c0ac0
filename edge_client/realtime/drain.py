"""How an edge lets its sessions go: nobody new is taken, those there are get a ticket each, and are waited for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from edge_client.realtime import server_events as wire
from edge_client.realtime.departure import Departure
from edge_client.realtime.dialogue import Dialogue
from edge_client.realtime.edge_metrics import Move
from edge_client.realtime.passage import Passage
from edge_client.realtime.session_config import Json
from edge_client.realtime.ticket import Tickets

logger = logging.getLogger(__name__)

LOOK_SEC = 0.05  # at a session that may come to rest

type Giving = Literal["given", "overtaken", "too long"]


class Drain:
    """Begun once, by whoever ends the program. Everything on the event loop."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()
        self._gone = asyncio.Event()  # all guests
        self._gone.set()
        self._guests = 0
        self._deadline = float("inf")  # of the event loop's clock

    @property
    def is_draining(self) -> bool:
        return self._begun.is_set()

    @property
    def left_sec(self) -> float:
        """Until the deadline."""
        return self._deadline - asyncio.get_running_loop().time()

    def begin(self, seconds: float) -> None:
        """Let all sessions go within so many seconds."""
        if not self.is_draining:
            logger.info("draining for at most %g s: %d sessions", seconds, self._guests)
            self._deadline = asyncio.get_running_loop().time() + seconds
            self._begun.set()

    async def begun(self) -> None:
        """Return when it has begun."""
        await self._begun.wait()

    async def over(self) -> None:
        """Return when it has begun, and nobody is left or the time is up."""
        await self.begun()
        try:
            async with asyncio.timeout(self.left_sec):
                await self._gone.wait()
        except TimeoutError:
            logger.warning("the time to drain is up: %d sessions are cut", self._guests)

    @contextmanager
    def guest(self) -> Iterator[None]:
        """A session that is waited for."""
        self._guests += 1
        self._gone.clear()
        try:
            yield
        finally:
            self._guests -= 1
            if not self._guests:
                self._gone.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaver:
    """A session as its departure sees it.

    Args:
        passage: as what it began, or came from elsewhere; its past and its settings are those of that time
        send: takes an event for its caller
        let_go: ends it
        lasted_sec: how long it has gone on, here and before
    """

    dialogue: Dialogue
    passage: Passage
    send: Callable[[Json], None]
    let_go: Callable[[], None]
    lasted_sec: Callable[[], float]

    @property
    def mark(self) -> tuple[object, ...] | None:
        """See `Departure.look`."""
        session = self.dialogue.session
        return (*session.mark, self.dialogue.config) if session.is_at_rest else None

    def now(self, serial: int) -> Passage:
        """The session as it is."""
        return replace(
            self.passage,
            config=self.dialogue.config,
            past=self.dialogue.session.past(),
            serial=serial,
            lasted_sec=self.lasted_sec(),
        )


async def depart(drain: Drain, tickets: Tickets, leaver: Leaver, on_left: Callable[[Move], None]) -> None:
    """Once the edge drains, tell the caller, give tickets while the session rests, and end it when that is due."""
    await drain.begun()
    how: Move = "no ticket"
    loop, left_sec = asyncio.get_running_loop(), drain.left_sec
    leaver.send(wire.event("antiphon.server.draining", deadline_ms=round((time.time() + left_sec) * 1000)))
    departure = Departure(now=loop.time(), deadline=loop.time() + left_sec)
    serial = leaver.passage.serial
    try:
        while (step := departure.look(mark := leaver.mark, loop.time())) != "leave":
            if step == "ticket":
                match await _give_ticket(tickets, leaver, serial + 1, mark):
                    case "given":
                        how = "ticket"
                        serial += 1
                    case "overtaken":
                        departure.take_back()
            await asyncio.sleep(LOOK_SEC)
        how = "cut"
        leaver.let_go()
    finally:
        on_left(how)


async def _give_ticket(tickets: Tickets, leaver: Leaver, serial: int, mark: object) -> Giving:
    """Writing a long one takes a while. Who has begun to speak meanwhile is not sent away with it."""
    ticket = await asyncio.to_thread(tickets.write, leaver.now(serial), now=time.time())
    if ticket is None:
        logger.info("a session is too long for a ticket: it stays until the deadline")
        return "too long"
    if leaver.mark != mark:
        return "overtaken"
    leaver.send(wire.event("antiphon.session.ticket", ticket=ticket.text, expires_at=ticket.expires_at))
    return "given"
