"""A microphone for clients of the WebSocket: it never stops, and most of what it sends is silence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Never

FRAME_SEC = 0.04
FRAME_BYTES = 1920  # 40 ms of 16 bit samples at 24 kHz


class Microphone:
    """Sends 24 kHz PCM to ``send`` in real time, frame after frame, until its task is cancelled."""

    def __init__(self, send: Callable[[bytes], Awaitable[object]]) -> None:
        self._send = send
        self._waiting = bytearray()
        self._said = asyncio.Event()

    async def run(self) -> Never:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self._send(self._next_frame())
            due += FRAME_SEC
            await asyncio.sleep(due - loop.time())

    async def say(self, sound: bytes) -> None:
        """Returns when the last of ``sound`` has been sent."""
        self._waiting += sound
        self._said.clear()
        await self._said.wait()

    def _next_frame(self) -> bytes:
        frame = bytes(self._waiting[:FRAME_BYTES])
        del self._waiting[:FRAME_BYTES]
        if not self._waiting:
            self._said.set()
        return frame.ljust(FRAME_BYTES, b"\0")
