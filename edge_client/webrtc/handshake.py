"""The handshake on a line that loses packets.

OpenSSL sends again what was not answered within a second, so one lost datagram of the handful that a handshake takes
would cost a call that second. Here it is repeated sooner, byte for byte: whoever has it already passes it over.

The private names of aiortc used here are held by `tests/test_webrtc_handshake.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiortc import RTCDtlsTransport

# Pauses before an unanswered flight is repeated. After the last OpenSSL's own timer goes on.
PAUSES_SEC = (0.2, 0.4)


def insist(handshake: RTCDtlsTransport) -> None:
    """Let ``handshake`` repeat what is not answered."""
    shake = handshake._do_handshake  # noqa: SLF001

    async def shake_insistently() -> None:
        transport = handshake.transport
        send, receive = transport._send, transport._recv  # noqa: SLF001
        flight = Flight(send, receive)
        transport._send, transport._recv = flight.send, flight.receive  # noqa: SLF001
        try:
            async with asyncio.TaskGroup() as tasks:
                repeating = tasks.create_task(flight.repeat())
                await shake()
                repeating.cancel()
        finally:
            transport._send, transport._recv = send, receive  # noqa: SLF001

    handshake._do_handshake = shake_insistently  # type: ignore[method-assign]  # noqa: SLF001


class Flight:
    """What was sent since something last came. It takes the place of the line while the handshake lasts."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]], receive: Callable[[], Awaitable[bytes]]) -> None:
        self._send = send
        self._receive = receive
        self._datagrams: list[bytes] = []
        self._is_answered = True
        self._departed = asyncio.Event()

    async def send(self, data: bytes) -> None:
        if self._is_answered:
            self._datagrams = []
            self._is_answered = False
            self._departed.set()
        self._datagrams.append(data)
        await self._send(data)

    async def receive(self) -> bytes:
        """What comes may be a repetition, by someone who has not got ours: ours is kept until there is a new one."""
        datagram = await self._receive()
        self._is_answered = True
        return datagram

    async def repeat(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await self._departed.wait()
            self._departed.clear()
            for pause in PAUSES_SEC:
                if await self._departed_within(pause):
                    break
                await self._send_again()

    async def _departed_within(self, pause_sec: float) -> bool:
        """Whether the next flight has left."""
        try:
            async with asyncio.timeout(pause_sec):
                return await self._departed.wait()
        except TimeoutError:
            return False

    async def _send_again(self) -> None:
        try:
            for datagram in self._datagrams:
                await self._send(datagram)
        except ConnectionError:  # the line is gone; the handshake finds out by itself
            return
