"""Tickets: whose they are, how long they are good, and that they are good once."""

from __future__ import annotations

import time

import pytest

from edge_client.realtime.keys import KeyRing, Unauthorized
from edge_client.realtime.passage import Passage
from edge_client.realtime.session_config import SessionConfig
from edge_client.realtime.ticket import LIFETIME_SEC, Ticket, Tickets
from edge_client.realtime.used_ids import UsedIds, UsedInMemory
from routing.errors import AtCapacity

SHARED = b"of edges that believe each other"
NOW = time.time()


def tickets(key: bytes = SHARED, *, used: UsedIds | None = None) -> Tickets:
    return Tickets(KeyRing([], signing_keys=[key], is_open=True, used=used))


def passage(serial: int = 0) -> Passage:
    return Passage(session_id="rtc_1", config=SessionConfig(), serial=serial)


def written(serial: int = 0) -> Ticket:
    ticket = tickets().write(passage(serial), now=NOW)
    assert ticket
    return ticket


async def use(edge: Tickets, ticket: Ticket) -> None:
    async with edge.redeeming(edge.read(ticket.text, now=NOW)) as redeem:
        redeem()


def test_any_edge_with_the_key_reads_it_for_two_minutes() -> None:
    ticket = written()
    assert tickets().read(ticket.text, now=NOW + 119) == passage()
    assert ticket.expires_at == int(NOW + LIFETIME_SEC)
    with pytest.raises(Unauthorized):
        tickets().read(ticket.text, now=NOW + LIFETIME_SEC + 1)


def test_of_a_foreign_or_changed_ticket_nothing_is_read() -> None:
    ticket = written().text
    middle = len(ticket) // 2
    changed = ticket[:middle] + ("A" if ticket[middle] != "A" else "B") + ticket[middle + 1 :]
    for bad in (changed, ticket[:-8], "", "ek_nonsense", "é" * 40):
        with pytest.raises(Unauthorized):
            tickets().read(bad, now=NOW)
    with pytest.raises(Unauthorized):
        tickets(b"of an edge that nobody else knows").read(ticket, now=NOW)


def test_it_says_nothing_to_who_has_no_key() -> None:
    assert b"rtc_1" not in written().text.encode()
    assert "rtc_1" not in repr(tickets())


async def test_it_is_good_once_and_voids_those_before_it() -> None:
    edge = tickets()
    await use(edge, written(3))
    for serial in (3, 2, 1):
        with pytest.raises(Unauthorized, match="that was not used"):
            await use(edge, written(serial))
    await use(edge, written(4))


async def test_where_the_session_could_not_go_on_it_is_good_again() -> None:
    edge = tickets()
    with pytest.raises(RuntimeError):
        async with edge.redeeming(passage()) as redeem:
            redeem()
            raise RuntimeError
    await use(edge, written())


async def test_where_there_is_no_room_to_remember_those_before_it_it_is_good_again() -> None:
    used = UsedInMemory(maximum=2)
    edge = tickets(used=used)
    with pytest.raises(AtCapacity):
        await use(edge, written(3))
    assert used.once("ticket 3 of rtc_1", until=NOW)
