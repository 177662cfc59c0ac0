"""One caller's session: hears turns, has them answered, and gives up the floor when the caller speaks.

Free of any transport and protocol: samples come in through `Session.hear`, the reply leaves through a `Mouth`, and what
happens is told as `SessionEvent`s. Everything runs on one event loop; only models run elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from edge_client.attention import Attention, TurnEndJudge
from edge_client.caller_report import CallerReport
from edge_client.conversation import Conversation, MessageItem, SpokenText, new_id
from edge_client.ears import Ears
from edge_client.floor import Floor, LiveTurn
from edge_client.mouth import Mouth
from edge_client.past import NO_PAST, Past, Promise
from edge_client.session_events import Emit, UserCommitted, UserHeard
from edge_client.session_options import SessionOptions
from edge_client.turn_story import Reception, TurnStory
from edge_client.turn_trace import SessionTracing
from routing.errors import InvalidRequest
from routing.telemetry.phase import Carrier
from routing.turns import SPEECH_SAMPLE_RATE, Backend, Heard, Privacy, Reminder, Samples, Turn, stricter


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionParts:
    """What a session is made of. ``chunk_ms`` is how much audio goes to the backend at a time."""

    backend: Backend
    ears: Ears
    judge: TurnEndJudge
    mouth: Mouth
    emit: Emit
    tracing: SessionTracing
    reception: Callable[[], Reception | None] = lambda: None  # how the caller's sound comes through
    chunk_ms: int = 80


class Session:
    """Made by `open_session`. Methods are called on the event loop and do not wait, but for the coroutines.

    The `Attention` hears the caller's turns, the `Floor` answers them; the session keeps the conversation between the
    two, and a turn that is over and waits to be answered on request.
    """

    def __init__(
        self, session_id: str, parts: SessionParts, *, options: SessionOptions, past: Past, tasks: asyncio.TaskGroup
    ) -> None:
        self.id = session_id
        self.conversation = Conversation(past.items)
        self.options = options
        self._ears = parts.ears
        self._emit = parts.emit
        self._tracing = parts.tracing
        self._reception = parts.reception
        self._floor = Floor(
            backend=parts.backend,
            conversation=self.conversation,
            mouth=parts.mouth,
            emit=parts.emit,
            chunk_samples=parts.chunk_ms * SPEECH_SAMPLE_RATE // 1000,
            tasks=tasks,
            on_replying=self._note_replying,
            on_reminder=self._note_reminder,
        )
        self._attention = Attention(
            ears=parts.ears,
            judge=parts.judge,
            mouth=parts.mouth,
            floor=self._floor,
            emit=parts.emit,
            options=lambda: self.options,
            new_turn=lambda since: self._new_turn(since=since),
            on_turn=self._take_turn,
        )
        self._waiting: LiveTurn | None = None
        self._unheard: set[LiveTurn] = set()  # part of the conversation, without words so far
        self._turns = past.turns
        self._promises: dict[object, _Due] = {}
        self._floor.spawn(self._attention.listen())
        for promise in past.promises:
            self._promise(promise)

    def close(self) -> None:
        """Stop everything."""
        self._floor.close()

    # -- to go on elsewhere ------------------------------------------------------------------------------------------

    def accompany(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside the session, until it ends or the session does."""
        self._floor.spawn(work)

    @property
    def is_at_rest(self) -> bool:
        """Nobody speaks, and nobody waits for anything: an answer, the end of a reply, a tool's result.

        A turn that was understood and is answered on request only is part of the conversation, and no more.
        """
        speaking = self._attention.taken or self._floor.taken
        return not (speaking or self._is_understanding or self.conversation.awaits_tool)

    @property
    def _is_understanding(self) -> bool:
        self._unheard = {turn for turn in self._unheard if turn.words_due and turn.task and not turn.task.done()}
        return bool(self._unheard)

    @property
    def mark(self) -> tuple[int, int, int]:
        """Other than before whenever the session's past is."""
        return self.conversation.changes, self._turns, len(self._promises)

    def past(self) -> Past:
        """All that matters to somebody who goes on with the session; it must be at rest."""
        now = asyncio.get_running_loop().time()
        promises = (Promise(due.at - now, due.text, due.privacy) for due in self._promises.values())
        return Past(items=self.conversation.settled(), turns=self._turns, promises=tuple(promises))

    # -- the caller's microphone -------------------------------------------------------------------------------------

    def hear(self, samples: Samples) -> None:
        """Take mono 16 kHz samples, any number at a time."""
        self._ears.hear(samples)

    async def room(self) -> None:
        """Return when more audio may come; for senders faster than real time."""
        await self._ears.room()

    # -- turns that are over -----------------------------------------------------------------------------------------

    def _take_turn(self, turn: LiveTurn) -> None:
        turn.story.reception_after = self._reception()
        self._commit(turn)
        if self.options.create_response:
            self._floor.release(turn)
        else:
            self._hold(turn)

    def _hold(self, turn: LiveTurn) -> None:
        if self._waiting:
            self._waiting.retire()
        self._waiting = turn

    def _note_words(self, turn: LiveTurn, heard: Heard) -> None:
        if turn.words_due and heard.is_final:
            self._tell_words(turn, heard)
        else:
            self._attention.note_words(turn, heard)

    def _commit(self, turn: LiveTurn) -> None:
        item = MessageItem(id=turn.item_id, role="user", medium="audio", privacy=turn.utterance.turn.privacy)
        self.conversation.add(item)
        turn.words_due = True
        self._unheard.add(turn)
        self._emit(UserCommitted(item, self.conversation.previous_id(item.id)))
        if turn.utterance.heard:
            self._tell_words(turn, turn.utterance.heard)

    def _tell_words(self, turn: LiveTurn, heard: Heard) -> None:
        turn.words_due = False
        item = self.conversation.get(turn.item_id)
        if isinstance(item, MessageItem):  # unless the caller has deleted it meanwhile
            item.pieces = [SpokenText(heard.text)]
        self._emit(UserHeard(turn.item_id, heard.text, True, turn.utterance.duration_sec))
        if turn.retired or not (heard.text or turn.requested):
            self._forget(turn)

    def _forget(self, turn: LiveTurn) -> None:
        """There is nothing to answer."""
        turn.drop()
        if turn is self._waiting:
            self._waiting = None

    # -- new turns ---------------------------------------------------------------------------------------------------

    def _new_turn(self, *, item_id: str | None = None, since: float | None = None, **changes: Any) -> LiveTurn:
        """``changes`` are fields of `Turn`. The question is not part of the history, if its item is there already.

        ``since`` is when its first sound arrived.
        """
        wishes = self._wishes | changes
        turn_id = new_id("turn")
        opened = asyncio.get_running_loop().time() if since is None else since
        story = TurnStory(opened=opened, reception_before=self._reception())
        trace = self._tracing.begin(turn_id, self._turns, story)
        turn = Turn(
            session_id=self.id,
            turn_id=turn_id,
            index=self._turns,
            trace_context=trace.carrier,
            history=self.conversation.history(privacy=wishes["privacy"], heard=self._floor.heard(), without=item_id),
            **wishes,
        )
        self._turns += 1
        item_id = item_id or new_id("item")
        return self._floor.open(turn, item_id=item_id, story=story, trace=trace, on_heard=self._note_words)

    @property
    def _wishes(self) -> dict[str, Any]:
        """What the caller wants of replies now, as fields of `Turn`."""
        options = self.options
        return {
            "instructions": options.instructions,
            "tools": options.tools,
            "tool_choice": options.tool_choice,
            "modality": options.modality,
            "privacy": options.privacy,
        }

    def _note_replying(self, replying: bool) -> None:
        self._ears.endpointer.replying = replying

    # -- what the caller may ask -------------------------------------------------------------------------------------

    def configure(self, options: SessionOptions) -> None:
        """Take new options. A change of turn detection forgets a turn that is being heard."""
        if options.endpointer != self.options.endpointer:
            self.clear_audio()
            self._ears.attend(options.endpointer)
        self.options = options

    def commit_audio(self) -> None:
        """End the user's turn now.

        Raises:
            InvalidRequest: nothing was heard since the last turn.
        """
        manual = self.options.endpointer.mode == "manual"
        if not (self._commit_kept() if manual else self._attention.commit()):
            raise InvalidRequest(
                "expected speech in the input audio buffer, got none", code="input_audio_buffer_commit_empty"
            )

    def _commit_kept(self) -> bool:
        since = self._ears.kept_since
        audio = self._ears.take_kept()
        if len(audio):
            self.take_recording(audio, since=since)
        return bool(len(audio))

    def take_recording(self, samples: Samples, *, item_id: str | None = None, since: float | None = None) -> None:
        """Take a whole turn of the user at once (16 kHz); it is answered on request.

        ``since`` is when its first sound arrived, where that was not just now.

        Raises:
            InvalidRequest: there is an item with this id already.
        """
        turn = self._new_turn(item_id=item_id, since=since)
        turn.utterance.feed(samples)
        turn.utterance.begin()
        try:
            self._commit(turn)
        except InvalidRequest:
            turn.drop()
            raise
        self._hold(turn)

    def clear_audio(self) -> None:
        """Forget what the user is saying."""
        self._ears.take_kept()
        self._attention.clear()

    def create_reply(self, **changes: Any) -> None:
        """Answer the turn that waits, or else the end of the conversation. ``changes`` are fields of `Turn`.

        Raises:
            InvalidRequest: a reply is being given already.
        """
        if self._floor.busy:
            raise InvalidRequest(
                "expected no active response, got one in progress",
                code="conversation_already_has_active_response",
            )
        waiting, self._waiting = self._waiting, None
        question = waiting.item_id if waiting else self.conversation.last_id
        if waiting and not self._fits(waiting, changes):
            waiting = self._ask_again(waiting, changes)
        elif waiting:
            self._tracing.ask(waiting.trace)
        turn = waiting or self._new_turn(**changes | self._privacy_of_question)
        if question and turn.utterance.turn.privacy == "device_only":
            self.conversation.withhold(question)
        self._answer(turn)

    @property
    def _privacy_of_question(self) -> dict[str, Any]:
        """A reply to what was typed in private, or to the result of a private call, is private too."""
        return {"privacy": "device_only"} if self.conversation.last_privacy == "device_only" else {}

    def _fits(self, waiting: LiveTurn, changes: dict[str, Any]) -> bool:
        """Whether the reply that was begun for a turn knows all it should know now."""
        turn = waiting.utterance.turn
        wishes = self._wishes | changes
        news = self.conversation.last_id != waiting.item_id
        return not news and all(getattr(turn, name) == wish for name, wish in wishes.items())

    def _ask_again(self, waiting: LiveTurn, changes: dict[str, Any]) -> LiveTurn:
        """A fresh exchange about the same sound."""
        waiting.drop()
        turn = self._new_turn(item_id=waiting.item_id, since=waiting.story.opened, **changes)
        turn.words_due = waiting.words_due
        turn.story.hear_as(waiting.story)
        turn.utterance.feed(waiting.utterance.audio)
        return turn

    def _answer(self, turn: LiveTurn) -> None:
        turn.requested = True
        self._floor.release(turn)

    def cancel_reply(self) -> None:
        """Stop the reply that is being given.

        Raises:
            InvalidRequest: there is none.
        """
        if not self._floor.busy:
            raise InvalidRequest("expected an active response to cancel, got none", code="response_cancel_not_active")
        self.silence()

    def silence(self) -> None:
        """Drop what has not been played of a reply, and what has not been made of it."""
        self._floor.interrupt("client_cancelled")

    # -- the trace of a turn -----------------------------------------------------------------------------------------

    def join_trace(self, carrier: Carrier) -> None:
        """The next turn that begins belongs to the caller's own trace."""
        self._tracing.join(carrier)

    def expect_reports(self) -> None:
        """The caller will tell what they measured: traces wait for that."""
        self._tracing.reports = True

    def take_report(self, report: CallerReport) -> None:
        """What the caller measured of a turn. Answered with `TurnTraced` when its trace is written.

        Raises:
            InvalidRequest: there is no such turn, or it was reported, or that was too long ago.
        """
        self._tracing.take_report(report, self._emit)

    # -- saying something unasked ------------------------------------------------------------------------------------

    def _note_reminder(self, reminder: Reminder, privacy: Privacy) -> None:
        self._promise(Promise(reminder.delay_sec, reminder.text, privacy))

    def _promise(self, promise: Promise) -> None:
        self._floor.spawn(self._keep(promise))

    async def _keep(self, promise: Promise) -> None:
        due_sec = max(promise.due_sec, 0.0)
        kept = object()
        self._promises[kept] = _Due(asyncio.get_running_loop().time() + due_sec, promise.text, promise.privacy)
        await asyncio.sleep(due_sec)
        while self._attention.taken or self._floor.taken:
            await self._attention.quiet()
            await self._floor.free()
        del self._promises[kept]
        self._answer(self._new_turn(script=promise.text, privacy=stricter(promise.privacy, self.options.privacy)))


class _Due(NamedTuple):
    """A promise, by the time of the event loop."""

    at: float
    text: str
    privacy: Privacy


@asynccontextmanager
async def open_session(
    session_id: str, parts: SessionParts, *, options: SessionOptions, past: Past = NO_PAST
) -> AsyncIterator[Session]:
    """A session that listens until the block ends, and goes on from its ``past``."""
    try:
        async with asyncio.TaskGroup() as tasks:
            session = Session(session_id, parts, options=options, past=past, tasks=tasks)
            try:
                yield session
            finally:
                session.close()
    finally:
        parts.tracing.close()
