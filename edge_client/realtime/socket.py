"""Sessions over a WebSocket: events both ways, sound inside them."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from dataclasses import replace

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from edge_client.conversation import new_id
from edge_client.mouth import RemoteMouth
from edge_client.realtime.client_events import RestoreSession, read_envelope, read_event
from edge_client.realtime.dialogue import Dialogue
from edge_client.realtime.edge import Edge
from edge_client.realtime.keys import EVERYTHING, Grant, Unauthorized
from edge_client.realtime.passage import Passage
from edge_client.realtime.session_clock import Farewell
from edge_client.realtime.session_config import Json, SessionConfig
from edge_client.webrtc.event_pace import LONGEST_FLOOD_SEC, EventPace
from routing.errors import AntiphonError, AtCapacity, InvalidRequest
from routing.telemetry.phase import Carrier

logger = logging.getLogger(__name__)

COMFORTABLE_EVENTS = 200  # on their way to the client; replies wait above this
MAXIMUM_EVENTS = 4000  # a client that does not read is let go above this
MAXIMUM_CHARACTERS = 64 * 1024 * 1024  # and above this
SERVICE_RESTART = 1012
NORMAL_CLOSURE = 1000
POLICY_VIOLATION = 1008
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
    websocket: WebSocket, edge: Edge, config: SessionConfig, *, grant: Grant = EVERYTHING, parent: Carrier | None = None
) -> None:
    """Hold a session with a client whose connection has been accepted, until it leaves.

    Its turns' traces link to the one that the client said it is in. Where the first thing that the client says is a
    ticket, it goes on with the session of that one.
    """
    visit = _Visit(websocket, edge)
    fresh = Passage(session_id=new_id("sess"), config=config, grant=grant, connection=parent or {})
    async with asyncio.TaskGroup() as tasks:
        aside = [tasks.create_task(visit.send()), tasks.create_task(visit.leave())]
        if restored := await visit.converse(fresh, first=True):
            await visit.converse(replace(restored, connection=parent or restored.connection), first=False)
        for task in aside:
            task.cancel()


class _Visit:
    """One client's connection, which may carry two sessions: one that it finds, and one that it brings along."""

    def __init__(self, websocket: WebSocket, edge: Edge) -> None:
        self._websocket = websocket
        self._edge = edge
        self._outbox = Outbox()
        self._let_go = asyncio.Event()
        self._ending = (SERVICE_RESTART, "the server restarts: connect again")
        self._pace = EventPace(per_sec=edge.settings.limits.events_per_sec)

    async def converse(self, passage: Passage, *, first: bool) -> Passage | None:
        """Hold a session until the client leaves; or until it has said ``first`` with which other one it goes on."""
        async with self._edge.conversation(
            passage,
            mouth=RemoteMouth(self._outbox.room),
            sound="events",
            send=self._outbox.put,
            let_go=self._let_go.set,
            dismiss=self._dismiss,
        ) as dialogue:
            dialogue.greet()
            try:
                if first and (restored := await self._first(dialogue)):
                    return restored
                await self._receive(dialogue)
            except GONE:
                pass
        return None

    async def _first(self, dialogue: Dialogue) -> Passage | None:
        """Take the first message; where it is a good ticket, return the session that it is for."""
        text = await _receive_text(self._websocket)
        event = _restoration(text)
        if event:
            return await self._restored(event, dialogue)
        await self._take(text, dialogue)
        return None

    async def _restored(self, event: RestoreSession, dialogue: Dialogue) -> Passage | None:
        """The session of the client's ticket; where that is no good the client is told, and stays with the other."""
        tickets = self._edge.tickets
        try:
            passage = await asyncio.to_thread(tickets.read, event.ticket, now=time.time())
            async with tickets.redeeming(passage) as redeem:
                redeem()
        except (Unauthorized, AtCapacity, InvalidRequest) as fault:
            dialogue.refuse(_told(fault), event.event_id)
            return None
        self._edge.metrics.note_moved("restored")
        return passage

    async def _receive(self, dialogue: Dialogue) -> None:
        """Take all that comes."""
        while not self._outbox.overflowing:
            await self._take(await _receive_text(self._websocket), dialogue)
            if self._pace.flood_sec(_now()) > LONGEST_FLOOD_SEC:
                await self._websocket.close(POLICY_VIOLATION, f"{self._too_fast}, without end")
                return
        await self._websocket.close(TRY_AGAIN_LATER, "events are not being read")

    async def _take(self, text: str, dialogue: Dialogue) -> None:
        is_sound = dialogue.receive(text)
        await dialogue.session.room()
        await self._keep_pace(dialogue, is_sound=is_sound)

    async def _keep_pace(self, dialogue: Dialogue, *, is_sound: bool) -> None:
        """Read on when it is time: at once, or as fast as events may come. What is not read waits at the client."""
        was_flooded = self._pace.is_flooded
        wait_sec = self._pace.read(_now(), is_sound=is_sound)
        if self._pace.is_flooded and not was_flooded:
            dialogue.refuse(InvalidRequest(f"{self._too_fast}: they are read at this pace", code="rate_limit_exceeded"))
        await asyncio.sleep(wait_sec)  # 0 too: messages that came at once would be read at once, while all others wait

    @property
    def _too_fast(self) -> str:
        return f"expected at most {self._edge.settings.limits.events_per_sec:g} events a second, got more"

    async def send(self) -> None:
        """Send what there is to tell, until the client has gone."""
        try:
            while True:
                await self._websocket.send_text(await self._outbox.get())
        except GONE:
            return  # the receiving side notices too

    async def leave(self) -> None:
        """Close the connection when the edge lets it go."""
        await self._let_go.wait()
        try:
            await self._websocket.close(*self._ending)
        except GONE:
            return

    def _dismiss(self, farewell: Farewell) -> None:
        self._ending = (NORMAL_CLOSURE, farewell.message)
        self._let_go.set()


def _restoration(text: str) -> RestoreSession | None:
    try:
        event = read_event(read_envelope(text))
    except InvalidRequest:
        return None  # what is wrong with it is the dialogue's to say
    return event if isinstance(event, RestoreSession) else None


def _told(fault: AntiphonError) -> InvalidRequest:
    """What is wrong with a ticket, as the protocol tells it."""
    return (
        fault
        if isinstance(fault, InvalidRequest)
        else InvalidRequest(str(fault), code="invalid_ticket", param="ticket")
    )


async def _receive_text(websocket: WebSocket) -> str:
    """The next message. A binary one is read as text too: what is wrong with it is the protocol's to say."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"])
    text: str | None = message.get("text")
    return message["bytes"].decode(errors="replace") if text is None else text


def _now() -> float:
    return asyncio.get_running_loop().time()
