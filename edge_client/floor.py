"""Who speaks: turns are answered one at a time, and whoever has the floor gives it up at once when told to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from edge_client.conversation import Conversation, MessageItem
from edge_client.mouth import Mouth
from edge_client.reply import Reply, TurnTimes
from edge_client.session_events import CutReason, Emit
from edge_client.utterance import Utterance
from routing.errors import BackendError
from routing.turns import Backend, Heard, Reminder, ReplyEvent, Turn

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False, kw_only=True)
class LiveTurn:
    """A turn from its first sound, or from the request for a reply, until it was answered or dropped."""

    utterance: Utterance
    item_id: str  # of the user's words in the conversation
    times: TurnTimes
    task: asyncio.Task[None] | None = None
    started: bool = False  # the caller was told that it is a turn
    doubtful: bool = False  # only its words can tell whether it is one
    committed: bool = False  # the user's words are part of the conversation
    released: bool = False  # a reply to it may be spoken
    end_reason: str | None = None
    fault: str | None = None  # why it cannot be answered

    def drop(self) -> None:
        """Stop all work on it."""
        if self.task:
            self.task.cancel()


class Floor:
    """Serves turns in ``tasks``, and speaks the released ones in their order.

    ``on_reminder`` gets what a reply wants to be said later, ``on_speaking`` whether the caller hears us now.
    """

    def __init__(
        self,
        *,
        backend: Backend,
        conversation: Conversation,
        mouth: Mouth,
        emit: Emit,
        chunk_samples: int,
        tasks: asyncio.TaskGroup,
        on_speaking: Callable[[bool], None],
        on_reminder: Callable[[Reminder], None],
    ) -> None:
        self._backend = backend
        self._conversation = conversation
        self._mouth = mouth
        self._emit = emit
        self._chunk_samples = chunk_samples
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()
        self._on_speaking = on_speaking
        self._on_reminder = on_reminder
        self._lock = asyncio.Lock()  # held by the reply that is being spoken
        self._reply: Reply | None = None  # that reply
        self._released: list[LiveTurn] = []  # and not answered to the end yet

    # -- tasks -------------------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` until it ends or the session does."""
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def close(self) -> None:
        """Stop everything; what runs frees what it holds."""
        for task in list(self._running):
            task.cancel()

    # -- turns -------------------------------------------------------------------------------------------------------

    def open(self, turn: Turn, *, item_id: str, on_heard: Callable[[LiveTurn, Heard], None]) -> LiveTurn:
        """Begin an exchange for ``turn``."""
        utterance = Utterance(
            turn,
            backend=self._backend,
            chunk_samples=self._chunk_samples,
            on_heard=lambda heard: on_heard(live, heard),
            speak=lambda events: self._speak(live, events),
        )
        live = LiveTurn(utterance=utterance, item_id=item_id, times=TurnTimes())
        live.task = self.spawn(self._serve(live))
        return live

    async def _serve(self, live: LiveTurn) -> None:
        try:
            await live.utterance.run()
        except Exception as fault:
            logger.exception("turn %s could not be served", live.utterance.turn.turn_id)
            live.fault = str(fault) if isinstance(fault, BackendError) else "internal error"
            self._fail_if_released(live)
        finally:
            if live in self._released:
                self._released.remove(live)

    def _fail_if_released(self, live: LiveTurn) -> None:
        if live.released and live.fault:
            self._new_reply(live).fail(live.fault)

    def release(self, live: LiveTurn) -> None:
        """Let the turn's reply be spoken as soon as the floor is free."""
        live.times.decided = asyncio.get_running_loop().time()
        live.released = True
        if live.fault:
            self._fail_if_released(live)
        else:
            self._released.append(live)
            live.utterance.release()

    # -- replies -----------------------------------------------------------------------------------------------------

    async def _speak(self, live: LiveTurn, events: AsyncGenerator[ReplyEvent]) -> None:
        async with self._lock:
            reply = self._reply = self._new_reply(live)
            try:
                async for event in events:
                    await reply.tell(event)
                await reply.heard_out()
            except BackendError as error:
                reply.fail(str(error))
            finally:
                self._reply = None
                self._on_speaking(False)

    def _new_reply(self, live: LiveTurn) -> Reply:
        return Reply(
            live.utterance.turn,
            times=live.times,
            end_reason=live.end_reason,
            conversation=self._conversation,
            mouth=self._mouth,
            emit=self._emit,
            on_audible=lambda: self._on_speaking(True),
            on_reminder=self._on_reminder,
        )

    @property
    def busy(self) -> bool:
        """Whether a reply is being made; one that is only played any more does not count."""
        made = self._reply.turn if self._reply and self._reply.done else None
        return any(live.utterance.turn is not made for live in self._released)

    @property
    def playing(self) -> MessageItem | None:
        """The message that the caller is hearing."""
        return self._reply.playing if self._reply else None

    @property
    def heard(self) -> int:
        """Samples of it that were heard so far."""
        return self._mouth.heard

    def interrupt(self, reason: CutReason) -> None:
        """Give up the floor: playout, backend and reply end at once; what was heard stays."""
        if self._reply:
            self._reply.cut(reason)
        for live in self._released:
            live.drop()
        self._released.clear()

    async def free(self) -> None:
        """Return when nobody speaks."""
        async with self._lock:
            return
