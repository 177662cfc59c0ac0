"""Ends connections on which a request begins and does not go on, and has few of those on which none ever began.

uvicorn has timers for what follows a request, and none for its head: whoever sends one byte of it a minute keeps a
connection for ever. The attributes of uvicorn's protocols used here are held by `tests/test_realtime_doorkeeper.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol, cast

from edge_client.realtime.addresses import counted_as

logger = logging.getLogger(__name__)

LINGER_SEC = 1.0  # for an answer to leave
MAXIMUM_HEAD_BYTES = 64 * 1024  # one parser of uvicorn's has the same bound, the other has none
NO_LIMIT_SEC = 365 * 24 * 3600.0
LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class _Cycle(Protocol):
    response_complete: bool


class _HttpProtocol(Protocol):
    """What uvicorn's protocols have in common. ``cycle`` is the request that came last."""

    cycle: _Cycle | None

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool | None: ...
    def connection_lost(self, error: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class Doorway:
    """The connections of one program. A head has ``head_sec`` to come, 0 is no limit.

    Of one address there may be ``most_silent`` connections on which nothing was asked yet, 0 is no limit. Those whom
    ``is_trusted`` names are proxies: they keep connections for many.
    """

    def __init__(
        self, *, head_sec: float, most_silent: int, is_trusted: Callable[[str], bool] = lambda address: False
    ) -> None:
        self.head_sec = head_sec
        self._most_silent = most_silent
        self._is_trusted = is_trusted
        self._silent: Counter[str] = Counter()

    def watched(self, new_protocol: Callable[..., asyncio.Protocol]) -> Callable[..., asyncio.Protocol]:
        """Like ``new_protocol``, which makes a protocol of uvicorn's."""

        def new_watched(**arguments: Any) -> asyncio.Protocol:
            return Doorkeeper(cast(_HttpProtocol, new_protocol(**arguments)), self)

        return new_watched

    def enter(self, address: str) -> bool:
        """A connection has come; False where it must go again. `leave` follows in any case."""
        caller = counted_as(address)
        self._silent[caller] += 1
        counts = self._most_silent and address and not self._is_trusted(address)
        return not counts or self._silent[caller] <= self._most_silent

    def leave(self, address: str) -> None:
        """Something was asked on the connection, or it has gone."""
        caller = counted_as(address)
        self._silent[caller] -= 1
        if not self._silent[caller]:
            del self._silent[caller]


class Doorkeeper(asyncio.Protocol):
    """Stands before one connection's ``server`` for as long as that speaks HTTP."""

    def __init__(self, server: _HttpProtocol, doorway: Doorway) -> None:
        self._server = server
        self._doorway = doorway
        self._address = ""
        self._is_silent = False
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0  # of the head that is coming

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connection_made(transport)
        self._address = _address(transport)
        self._is_silent = True
        if not self._doorway.enter(self._address):
            logger.info("one address has too many connections on which nothing is asked: one is closed")
            self._transport.abort()
            return
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        before = self._server.cycle
        if self._timer is None and (before is None or before.response_complete) and not self._transport.is_closing():
            self._expect_head()
        self._server.data_received(data)
        if self._server.cycle is not before or self._transport.get_protocol() is not self:
            self._head_came()
        elif self._timer:
            self._head_bytes += len(data)
            if self._head_bytes > MAXIMUM_HEAD_BYTES:
                self._refuse(LONG)

    def eof_received(self) -> bool | None:
        return self._server.eof_received()

    def pause_writing(self) -> None:
        self._server.pause_writing()

    def resume_writing(self) -> None:
        self._server.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._head_came()
        self._server.connection_lost(error)

    # -- heads ---------------------------------------------------------------------------------------------------------

    def _expect_head(self) -> None:
        self._head_bytes = 0
        patience_sec = self._doorway.head_sec or NO_LIMIT_SEC
        self._timer = asyncio.get_running_loop().call_later(patience_sec, self._head_is_late)

    def _head_came(self) -> None:
        """Or never will."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._is_silent:
            self._is_silent = False
            self._doorway.leave(self._address)

    def _head_is_late(self) -> None:
        if self._head_bytes:
            self._refuse(LATE)
        else:
            self._transport.abort()  # a browser's, kept for a request that never came

    def _refuse(self, answer: bytes) -> None:
        self._head_came()
        self._transport.write(answer)
        self._transport.close()
        asyncio.get_running_loop().call_later(LINGER_SEC, self._transport.abort)


def _address(transport: asyncio.BaseTransport) -> str:
    """Empty for a Unix socket: only the other workers come over one."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""
