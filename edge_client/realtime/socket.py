"""Sessions over a WebSocket: events both ways, sound inside them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from edge_client.conversation import new_id
from edge_client.mouth import RemoteMouth
from edge_client.realtime.dialogue import Dialogue
from edge_client.realtime.edge import Edge
from edge_client.realtime.session_config import Json, SessionConfig
from routing.telemetry.phase import Carrier

logger = logging.getLogger(__name__)

COMFORTABLE_EVENTS = 200  # on their way to the client; replies wait above this
MAXIMUM_EVENTS = 4000  # a client that does not read is let go above this
MAXIMUM_CHARACTERS = 64 * 1024 * 1024  # and above this
TRY_AGAIN_LATER = 1013
GONE = (WebSocketDisconnect, WebSocketDisconnected)  # noticed now, or noticed before


class Outbox:
    """Server events on their way to a client, in order, as text."""

    def __init__(self) -> None:
        self._events: deque[str] = deque()
        self._characters = 0
        self._changed = asyncio.Event()

    def put(self, event: Json) -> None:
        text = json.dumps(event)
        self._events.append(text)
        self._characters += len(text)
        self._changed.set()

    async def get(self) -> str:
        while not self._events:
            await self._change()
        self._changed.set()
        text = self._events.popleft()
        self._characters -= len(text)
        return text

    async def room(self) -> None:
        """Return when the client has read enough for a reply to go on."""
        while len(self._events) > COMFORTABLE_EVENTS:
            await self._change()

    @property
    def overflowing(self) -> bool:
        return len(self._events) > MAXIMUM_EVENTS or self._characters > MAXIMUM_CHARACTERS

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


async def serve_socket(
    websocket: WebSocket, edge: Edge, config: SessionConfig, *, parent: Carrier | None = None
) -> None:
    """Hold a session with a client whose connection has been accepted, until it leaves.

    Its turns' traces link to the one that the client said it is in.
    """
    outbox = Outbox()
    async with edge.conversation(
        new_id("sess"),
        mouth=RemoteMouth(outbox.room),
        sound="events",
        send=outbox.put,
        config=config,
        connection=parent or {},
    ) as dialogue:
        dialogue.greet()
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(_send(websocket, outbox))
            await _receive(websocket, dialogue, outbox)
            sending.cancel()


async def _send(websocket: WebSocket, outbox: Outbox) -> None:
    try:
        while True:
            await websocket.send_text(await outbox.get())
    except GONE:
        return  # the receiving side notices too


async def _receive_text(websocket: WebSocket) -> str:
    """The next message. A binary one is read as text too: what is wrong with it is the protocol's to say."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"])
    text: str | None = message.get("text")
    return message["bytes"].decode(errors="replace") if text is None else text


async def _receive(websocket: WebSocket, dialogue: Dialogue, outbox: Outbox) -> None:
    try:
        while not outbox.overflowing:
            dialogue.receive(await _receive_text(websocket))
            await dialogue.session.room()
            await asyncio.sleep(0)  # messages that came at once would be read at once, while all others wait
        await websocket.close(TRY_AGAIN_LATER, "events are not being read")
    except GONE:
        return
