"""A server under test that sends what no server should, to a caller over WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from edge_client.load.socket_caller import SocketCaller

NONSENSE = {
    "sound that is no text of bytes": json.dumps({"type": "response.output_audio.delta", "delta": "ö"}),
    "brackets without end": "[" * 100_000,
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
async def test_what_comes_after_nonsense_is_heard(nonsense: str, nothing_left_behind: None) -> None:
    events: list[Mapping[str, Any]] = []

    async def greet(connection: ServerConnection) -> None:
        for message in (nonsense, '{"type": "session.created"}'):
            await connection.send(message)
        await connection.wait_closed()

    async with serve(greet, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with SocketCaller.connect(f"http://127.0.0.1:{port}", on_event=events.append), asyncio.timeout(5):
            while {"type": "session.created"} not in events:
                await asyncio.sleep(0.01)
