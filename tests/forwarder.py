"""The network between two TUN devices, in its own process: it keeps time while the loop of a test is busy.

It lives as long as its standard input. A line there is a command ("cut", "restore", "statistics");
each is answered with a line of JSON, the statistics of both directions.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from edge_client.network.profile import Cut, NetworkProfile
from edge_client.network.wire import Wire

LARGEST_PACKET = 65_535
MOST_AT_ONCE = 64  # packets read before timers have their turn


class Crossing:
    """Takes packets from one device and writes them to the other when they are due."""

    def __init__(self, source: int, target: int, wire: Wire) -> None:
        self._source, self._target, self.wire = source, target, wire
        os.set_blocking(source, False)
        asyncio.get_running_loop().add_reader(source, self._read)

    def _read(self) -> None:
        for _ in range(MOST_AT_ONCE):
            try:
                packet = os.read(self._source, LARGEST_PACKET)
            except OSError:  # no more for now, or the device has gone
                return
            self.wire.carry(len(packet), lambda packet=packet: self._write(packet))  # type: ignore[misc]

    def _write(self, packet: bytes) -> None:
        try:
            os.write(self._target, packet)
        except OSError:  # the device is down or full: networks lose packets
            return


def profile_from(text: str) -> NetworkProfile:
    values: dict[str, Any] = json.loads(text)
    return NetworkProfile(**values | {"cuts": tuple(Cut(**cut) for cut in values["cuts"])})


async def forward(near: int, far: int, profile: NetworkProfile, seed: int) -> None:
    there = Crossing(near, far, Wire(profile, seed=2 * seed)).wire
    back = Crossing(far, near, Wire(profile, seed=2 * seed + 1)).wire
    answer("ready")
    async for command in lines_of_standard_input():
        answer([obey(wire, command) for wire in (there, back)])


def obey(wire: Wire, command: str) -> dict[str, int]:
    if command == "cut":
        wire.cut()
    elif command == "restore":
        wire.restore()
    return asdict(wire.statistics())


async def lines_of_standard_input() -> AsyncIterator[str]:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode().strip()


def answer(result: object) -> None:
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    near_descriptor, far_descriptor, described, number = sys.argv[1:]
    asyncio.run(forward(int(near_descriptor), int(far_descriptor), profile_from(described), int(number)))
