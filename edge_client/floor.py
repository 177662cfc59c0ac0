"""Who speaks: turns are answered one at a time, and whoever has the floor gives it up at once when told to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from edge_client.conversation import Conversation
from edge_client.mouth import Mouth
from edge_client.reply import Reply
from edge_client.session_events import CutReason, Emit, TurnReport
from edge_client.turn_story import Interruption, TurnStory
from edge_client.turn_trace import TurnOutcome, TurnTrace
from edge_client.utterance import Utterance
from routing.errors import BackendError
from routing.telemetry.logs import speak_of_turn
from routing.turns import Backend, Heard, Privacy, Reminder, ReplyEvent, Turn

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False, kw_only=True)
class LiveTurn:
    """A turn from its first sound, or from the request for a reply, until it was answered or dropped."""

    utterance: Utterance
    item_id: str  # of the user's words in the conversation
    story: TurnStory
    trace: TurnTrace
    task: asyncio.Task[None] | None = None
    started: bool = False  # the caller was told that it is a turn
    doubtful: bool = False  # only its words can tell whether it is one
    words_due: bool = False  # it is part of the conversation, and its words are still to be told
    requested: bool = False  # the caller asked for the reply, and waits for it to end
    retired: bool = False  # nobody wants its reply any more
    reply: Reply | None = None  # from its release on
    fault: str | None = None  # why it cannot be answered

    def drop(self) -> None:
        """Stop all work on it."""
        if self.task:
            self.task.cancel()

    def retire(self) -> None:
        """Stop the work on its reply; what the user said is still understood."""
        self.retired = True
        self.utterance.hush()
        if not self.words_due:
            self.drop()

    def end_trace(self) -> None:
        """It is over. One of which nobody was asked anything was none, unless its reply is asked for later."""
        report = self.reply.report if self.reply else None
        if report or self.utterance.was_asked:
            self.trace.over(_outcome(self), report, asyncio.get_running_loop().time())
        else:
            self.trace.dropped()


class Floor:
    """Serves turns in ``tasks``, and speaks the released ones in their order.

    A released turn is answered to its end, whatever happens: each has one reply, and each reply one end.
    ``on_reminder`` gets what a reply wants to be said later and who may know of it, ``on_replying`` whether a reply is
    being made or heard.
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
        on_replying: Callable[[bool], None],
        on_reminder: Callable[[Reminder, Privacy], None],
    ) -> None:
        self._backend = backend
        self._conversation = conversation
        self._mouth = mouth
        self._emit = emit
        self._chunk_samples = chunk_samples
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False
        self._on_replying = on_replying
        self._on_reminder = on_reminder
        self._lock = asyncio.Lock()  # held by the reply that is being spoken
        self._replies: dict[LiveTurn, Reply] = {}  # to released turns; neither heard out nor cut yet
        self._free = asyncio.Event()
        self._free.set()

    # -- tasks -------------------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` until it ends or the session does."""
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        if self._closed:
            task.cancel()
        return task

    def close(self) -> None:
        """Stop everything, and what is begun from now on; what runs frees what it holds."""
        self._closed = True
        for task in list(self._running):
            task.cancel()

    # -- turns -------------------------------------------------------------------------------------------------------

    def open(
        self,
        turn: Turn,
        *,
        item_id: str,
        story: TurnStory,
        trace: TurnTrace,
        on_heard: Callable[[LiveTurn, Heard], None],
    ) -> LiveTurn:
        """Begin an exchange for ``turn``."""
        utterance = Utterance(
            turn,
            backend=self._backend,
            chunk_samples=self._chunk_samples,
            on_heard=lambda heard: on_heard(live, heard),
            speak=lambda events: self._speak(live, events),
        )
        live = LiveTurn(utterance=utterance, item_id=item_id, story=story, trace=trace)
        live.task = self.spawn(self._serve(live))
        live.task.add_done_callback(lambda _: live.end_trace())  # it may be cancelled before it begins
        return live

    async def _serve(self, live: LiveTurn) -> None:
        turn = live.utterance.turn
        speak_of_turn(turn.trace_context, turn_id=turn.turn_id, session_id=turn.session_id)
        try:
            await live.utterance.run()
        except Exception as fault:
            logger.exception("turn %s could not be served", turn.turn_id)
            live.fault = str(fault) if isinstance(fault, BackendError) else "internal error"
            if live.reply:
                live.reply.fail(live.fault)
        finally:
            self._leave(live)

    def release(self, live: LiveTurn) -> None:
        """Let the turn's reply be spoken as soon as the floor is free."""
        live.story.decided = asyncio.get_running_loop().time()
        live.reply = self._new_reply(live)
        if live.fault:
            live.reply.fail(live.fault)
            live.end_trace()
        else:
            self._enter(live, live.reply)
            live.utterance.release()

    def _enter(self, live: LiveTurn, reply: Reply) -> None:
        self._replies[live] = reply
        self._free.clear()
        self._on_replying(True)

    def _leave(self, live: LiveTurn) -> None:
        self._replies.pop(live, None)
        if not self._replies:
            self._free.set()
            self._on_replying(False)

    # -- replies -----------------------------------------------------------------------------------------------------

    async def _speak(self, live: LiveTurn, events: AsyncGenerator[ReplyEvent]) -> None:
        reply = live.reply
        assert reply, "only released turns are spoken"
        was_taken = self._lock.locked()
        async with self._lock:
            if was_taken:
                live.story.has_floor = asyncio.get_running_loop().time()
            try:
                async for event in events:
                    await reply.tell(event)
                await reply.heard_out()
                live.story.is_heard_out = True
            except BackendError as error:
                reply.fail(str(error))

    def _new_reply(self, live: LiveTurn) -> Reply:
        return Reply(
            live.utterance.turn,
            story=live.story,
            trace_id=live.trace.trace_id,
            conversation=self._conversation,
            mouth=self._mouth,
            emit=self._emit,
            on_reminder=self._on_reminder,
        )

    @property
    def busy(self) -> bool:
        """Whether a reply is being made; one that is only played any more does not count."""
        return any(not reply.done for reply in self._replies.values())

    @property
    def taken(self) -> bool:
        """Whether a reply is being made or played."""
        return bool(self._replies)

    async def free(self) -> None:
        """Return when the floor is not taken."""
        await self._free.wait()

    def heard(self) -> dict[str, int]:
        """By message, how many samples the caller has heard of the replies that are not over."""
        heard: dict[str, int] = {}
        for reply in self._replies.values():
            heard |= reply.heard()
        return heard

    def interrupt(self, reason: CutReason, interruption: Interruption | None = None) -> None:
        """Give up the floor: playout, backend and reply end at once; what was heard stays."""
        for live, reply in list(self._replies.items()):
            live.story.is_cut = True
            live.story.over = asyncio.get_running_loop().time()
            live.story.interruption = interruption if live.story.first_audio else None
            reply.cut(reason)
            live.retire()
            self._leave(live)


def _outcome(live: LiveTurn) -> TurnOutcome:
    if live.story.is_cut:
        return "interrupted"
    match live.reply:
        case Reply(status="completed", report=TurnReport(switches=switches)) if live.story.is_heard_out:
            return "fallback" if switches else "ok"
        case Reply(status="failed"):
            return "error"
        case None:
            return "error" if live.fault else "dropped"
        case _:
            return "abandoned"
