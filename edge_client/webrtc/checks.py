"""Connectivity checks without needless waits.

aioice looks every 20 ms whether there is something to do, and sends nothing to a caller before its own check of the
caller's address was answered. Here the first check of the caller wakes it, and when that check nominates the address,
the handshake begins at once: a round trip earlier. The answer to the caller's check has told the caller that the way
is open; the handshake tells us. Until it is through, all that an address is ever sent is a few hundred bytes.

The private names of aioice used here are held by `tests/test_webrtc_checks.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aioice import Connection
from aioice.ice import CandidatePair, StunProtocol
from aioice.stun import Message

CHECKS_AT_ONCE = 5  # aioice starts one every 20 ms
MOST_ADDRESSES = 16  # from which one caller may check; each is checked back and kept

type Address = tuple[str, int]
type OnCheck = Callable[[StunProtocol, Address], None]  # at which socket it came, and from where

_UNCHECKED = (CandidatePair.State.WAITING, CandidatePair.State.FROZEN)


def hasten(connection: Connection, *, on_check: OnCheck) -> None:
    """Let ``connection`` connect as fast as the network allows. ``on_check`` is told of each check by the caller."""
    _start_checks_together(connection)
    _wait_for_first_check(connection)
    _nominate_at_once(connection, on_check)


def _start_checks_together(connection: Connection) -> None:
    pairs = connection._check_list  # noqa: SLF001

    def start_next() -> bool:
        """Returns whether to look again in 20 ms; otherwise the end of the checks wakes who waits for it."""
        if connection._check_list_done:  # noqa: SLF001
            return False
        unchecked = [pair for pair in pairs if pair.state in _UNCHECKED]
        for pair in unchecked[:CHECKS_AT_ONCE]:
            connection.check_start_task(pair)
        return len(unchecked) > CHECKS_AT_ONCE or not pairs

    connection._check_periodic = start_next  # type: ignore[method-assign]  # noqa: SLF001


def _wait_for_first_check(connection: Connection) -> None:
    connect, close, receive = connection.connect, connection.close, connection.request_received
    stirred = asyncio.Event()

    async def connect_when_stirred() -> None:
        if not (connection.ice_controlling or connection._remote_candidates):  # noqa: SLF001
            await stirred.wait()
        if connection._closing:  # noqa: SLF001
            raise ConnectionError("closed before anybody called")
        await connect()

    async def close_and_wake() -> None:
        stirred.set()
        await close()

    def receive_and_wake(message: Message, addr: Address, protocol: StunProtocol) -> None:
        receive(message, addr, protocol)
        if connection._early_checks:  # noqa: SLF001
            stirred.set()

    connection.connect = connect_when_stirred  # type: ignore[method-assign]
    connection.close = close_and_wake  # type: ignore[method-assign]
    connection.request_received = receive_and_wake  # type: ignore[method-assign]


def _nominate_at_once(connection: Connection, on_check: OnCheck) -> None:
    check = connection.check_incoming

    def check_and_nominate(message: Message, addr: Address, protocol: StunProtocol) -> None:
        if _is_one_too_many(connection, addr):
            return
        on_check(protocol, addr)
        check(message, addr, protocol)
        if not connection._nominated and "USE-CANDIDATE" in message.attributes:  # noqa: SLF001
            _nominate(connection, addr, protocol)

    connection.check_incoming = check_and_nominate  # type: ignore[method-assign]


def _is_one_too_many(connection: Connection, address: Address) -> bool:
    candidates = connection._remote_candidates  # noqa: SLF001
    return len(candidates) >= MOST_ADDRESSES and not any(
        (candidate._network_host, candidate.port) == address  # noqa: SLF001
        for candidate in candidates
    )


def _nominate(connection: Connection, address: Address, protocol: StunProtocol) -> None:
    """What aioice does when its own check of this pair succeeds. The caller alone may choose the pair."""
    if connection.ice_controlling:
        return
    for pair in connection._check_list:  # noqa: SLF001
        if pair.protocol is protocol and pair.remote_addr == address:
            check = pair.task
            pair.nominated = True
            connection.check_state(pair, CandidatePair.State.SUCCEEDED)
            connection.check_complete(pair)
            pair.task = check  # to be cancelled with the others: it has become needless
            return
