"""One reply as it is told to the caller: from the first word to the last sample heard, or to the cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edge_client.conversation import Conversation, Item, MessageItem, ToolCallItem, new_id
from edge_client.mouth import Mouth
from edge_client.session_events import (
    CutReason,
    Emit,
    ItemTruncated,
    PlayoutCleared,
    PlayoutStarted,
    PlayoutStopped,
    ReplyAudio,
    ReplyDone,
    ReplyItemDone,
    ReplyItemStarted,
    ReplyStarted,
    ReplyStatus,
    ReplyText,
    ReplyToolCall,
    TurnReport,
)
from edge_client.turn_story import TurnStory
from routing.turns import (
    REPLY_SAMPLE_RATE,
    AudioChunk,
    Heard,
    Placement,
    Privacy,
    Reminder,
    ReplyEnd,
    ReplyEvent,
    TextDelta,
    ToolCall,
    Turn,
)
from routing.voiced import is_first


class Reply:
    """Turns the events of a released reply into items of the conversation, sound in the mouth, and news for the caller.

    Nothing is announced before the first event that says something or the end, so a turn that is dropped because it
    has no words leaves no empty reply. After the end nothing is told any more.
    """

    def __init__(
        self,
        turn: Turn,
        *,
        story: TurnStory,
        trace_id: str,
        conversation: Conversation,
        mouth: Mouth,
        emit: Emit,
        on_reminder: Callable[[Reminder, Privacy], None],
    ) -> None:
        self.id = new_id("resp")
        self.turn = turn
        self.report: TurnReport | None = None  # once it is done
        self.status: ReplyStatus | None = None
        self._story = story
        self._trace_id = trace_id
        self._conversation = conversation
        self._mouth = mouth
        self._emit = emit
        self._on_reminder = on_reminder
        self._started = False
        self._items: list[Item] = []
        self._message: MessageItem | None = None  # the one being told
        self._spoken: list[MessageItem] = []  # those with sound, in the order they are played
        self._placements: list[Placement] = []  # another one wherever the speaker changes
        self._end = ReplyEnd()
        self._playing = False
        self._audible = asyncio.Event()

    @property
    def done(self) -> bool:
        return self.status is not None

    # -- telling -----------------------------------------------------------------------------------------------------

    async def tell(self, event: ReplyEvent) -> None:
        """Pass on one event; waits while the mouth has no room."""
        if self.done:
            return
        if is_first(event, self.turn):
            self._story.first_told(asyncio.get_running_loop().time())
        match event:
            case Placement():
                self._placements.append(event)
            case Heard():
                pass  # the session hears it directly
            case TextDelta(text=text):
                self._tell_text(text)
            case AudioChunk():
                await self._tell_audio(event)
            case ToolCall():
                self._tell_tool_call(event)
            case Reminder():
                self._on_reminder(event, self.turn.privacy)
            case ReplyEnd():
                await self._tell_end(event)

    def _tell_text(self, text: str) -> None:
        message = self._open_message()
        message.append(text)
        self._emit(ReplyText(self.id, self._index, message, text))

    async def _tell_audio(self, chunk: AudioChunk) -> None:
        if not len(chunk.samples):
            return
        message = self._open_message()
        if not self._playing:
            self._playing = True
            self._mouth.begin(self._announce_audio)
        message.samples += len(chunk.samples)
        self._emit(ReplyAudio(self.id, self._index, message, chunk.samples))
        self._mouth.say(chunk.samples)
        await self._mouth.room()

    def _announce_audio(self) -> None:
        self._story.first_audio = asyncio.get_running_loop().time()
        self._audible.set()
        self._emit(PlayoutStarted(self.id))

    def _tell_tool_call(self, call: ToolCall) -> None:
        self._close_message("completed")
        self._start()
        item = ToolCallItem(id=new_id("item"), call=call, privacy=self.turn.privacy)
        self._add(item)
        self._emit(ReplyToolCall(self.id, self._index, item, self._conversation.previous_id(item.id)))

    async def _tell_end(self, end: ReplyEnd) -> None:
        self._end = end
        if self._playing:
            self._mouth.finish()
            await self._audible.wait()  # so that the report knows when the first audio left
        self._finish("completed")

    async def heard_out(self) -> None:
        """Return when everything was played."""
        if self._playing:
            await self._mouth.silent()
            self._story.starved = self._mouth.starved
        if self._playing:  # still: a cut has told its own end
            self._playing = False
            self._emit(PlayoutStopped(self.id))
        self._spoken.clear()

    # -- the other endings -------------------------------------------------------------------------------------------

    def cut(self, reason: CutReason) -> None:
        """Stop at once, keep what was heard. Does nothing to a reply that was heard out."""
        self._silence()
        self._finish("cancelled", cut_reason=reason)

    def fail(self, message: str) -> None:
        """The backend gave up: say so, and keep what was heard."""
        self._silence()
        self._finish("failed", error=message)

    def _silence(self) -> None:
        heard = self.heard()
        if self._playing:
            self._playing = False
            self._story.starved = self._mouth.starved
            self._mouth.flush()
            self._emit(PlayoutCleared(self.id))
        for message in self._spoken:
            if heard[message.id] < message.samples or message is self._message:
                self._truncate(message, heard[message.id])
        self._spoken.clear()

    def _truncate(self, message: MessageItem, heard: int) -> None:
        message.heard = heard
        self._emit(ItemTruncated(message.id, heard * 1000 // REPLY_SAMPLE_RATE))

    def heard(self) -> dict[str, int]:
        """How many samples the caller has heard of each spoken message; none when the reply was heard out or cut."""
        left = self._mouth.heard if self._playing else 0
        shares: dict[str, int] = {}
        for message in self._spoken:
            shares[message.id] = min(left, message.samples)
            left -= shares[message.id]
        return shares

    # -- bookkeeping -------------------------------------------------------------------------------------------------

    @property
    def _index(self) -> int:
        return len(self._items) - 1

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._emit(ReplyStarted(self.id))

    def _add(self, item: Item) -> None:
        self._items.append(item)
        self._conversation.add(item)

    def _open_message(self) -> MessageItem:
        if self._message is None:
            self._start()
            self._message = MessageItem(
                id=new_id("item"),
                role="assistant",
                medium=self.turn.modality,
                status="in_progress",
                privacy=self.turn.privacy,
            )
            self._add(self._message)
            if self.turn.modality == "audio":
                self._spoken.append(self._message)
            self._emit(ReplyItemStarted(self.id, self._index, self._message))
        return self._message

    def _close_message(self, status: ReplyStatus) -> None:
        if self._message is None:
            return
        self._message.status = "completed" if status == "completed" else "incomplete"
        self._emit(ReplyItemDone(self.id, self._index, self._message))
        self._message = None

    def _finish(self, status: ReplyStatus, *, cut_reason: CutReason | None = None, error: str | None = None) -> None:
        if self.done:
            return
        self.status, self.report = status, self._report()
        self._start()
        self._close_message(status)
        self._emit(
            ReplyDone(
                self.id,
                status,
                tuple(self._items),
                self.report,
                cut_reason=cut_reason,
                error=error,
                input_tokens=self._end.input_tokens,
                output_tokens=self._end.output_tokens,
            )
        )

    def _report(self) -> TurnReport:
        own = self._story.waits_ms()  # nobody else may tell those
        timings = own | {name: each for name, each in self._end.timings_ms.items() if name not in own}
        return TurnReport(
            index=self.turn.index,
            turn_id=self.turn.turn_id,
            timings_ms=timings,
            placement=self._placements[0] if self._placements else None,
            switches=tuple(self._placements[1:]),
            end_reason=self._story.end_reason,
            trace_id=self._trace_id,
        )
