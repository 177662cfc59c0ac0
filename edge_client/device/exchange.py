"""One turn answered on the device."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from itertools import takewhile
from typing import TYPE_CHECKING

from edge_client.device.calls import call, is_busy
from edge_client.device.chatter import chatter
from edge_client.device.clauses import clauses
from edge_client.device.decider import Decider, Decision
from edge_client.device.listener import Listener, Transcriber
from edge_client.device.prompt import prompt_for, well_formed
from edge_client.device.results import say_result
from edge_client.device.skills import Answer
from edge_client.device.speaker import Speaker
from edge_client.stopwatch import Stopwatch
from routing.errors import BackendError
from routing.turns import (
    SPEECH_SAMPLE_RATE,
    AudioChunk,
    Heard,
    HistoryItem,
    Message,
    ReplyEnd,
    ReplyEvent,
    TextDelta,
    ToolCall,
    ToolResult,
    Turn,
)

if TYPE_CHECKING:
    from edge_client.models.library import AnsweringLibrary

logger = logging.getLogger(__name__)

PARTIAL_SAMPLES = SPEECH_SAMPLE_RATE * 640 // 1000  # new speech between two partial transcripts
SPECULATIVE_AUDIO_SEC = 3.0  # made ahead before it is known that the turn is over
JUDGE_PATIENCE_SEC = 0.25  # the end of the turn is decided without the words if they take longer
KNOWN_SENTENCE = 0.9  # how likely one that a skill was made for is complete: it may still go on
LONGEST_REPLY_TOKENS = 40
LONGEST_REPLY_SENTENCES = 2
LONGEST_QUESTION = 1000  # characters of what is typed; the end of it says what is wanted
GREETING = "Hello! What can I do for you?"
ANYTHING_ELSE = "Is there anything else I can do for you?"


class DeviceExchange:
    """Collects the user's speech and answers it, as often as it is asked to. Made by `DeviceBackend.open`."""

    def __init__(
        self,
        turn: Turn,
        *,
        library: AnsweringLibrary,
        transcriber: Transcriber,
        decider: Decider,
        tasks: asyncio.TaskGroup,
        on_heard: Callable[[Heard], None],
    ) -> None:
        self._turn = turn
        self._library = library
        self._decider = decider
        self._tasks = tasks
        self._on_heard = on_heard
        self._listener = Listener(transcriber)
        self._prompt = prompt_for(turn.history, turn.instructions)
        self._committed = asyncio.Event()
        self._replying = False

    def feed(self, chunk: AudioChunk) -> None:
        assert chunk.sample_rate == SPEECH_SAMPLE_RATE
        self._listener.feed(chunk.samples)

    def commit(self) -> None:
        self._committed.set()

    async def reply(self) -> AsyncGenerator[ReplyEvent]:
        """See `routing.turns.Exchange`."""
        assert not self._replying, "one reply at a time"
        self._replying = True
        watch = Stopwatch(asyncio.get_running_loop().time)
        try:
            async with aclosing(self._answer(watch)) as events:
                async for event in events:
                    yield event
            yield ReplyEnd(watch.laps_ms())
        finally:
            self._replying = False

    # -- while the user speaks -----------------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Write down what is said while it is said, and get the other models ready for it. Runs until cancelled."""
        await self._listener.fed_up_to(1)
        try:
            await self._read_ahead(self._prompt.opening)
            await self._decider.learn(self._turn)
            await self._transcribe_partly()
        except BackendError as error:  # a courtesy: the reply will meet the fault again, and report it
            logger.warning("no partial transcripts for this turn: %s", error)

    async def _transcribe_partly(self) -> None:
        heard, next_pass = "", PARTIAL_SAMPLES
        while True:
            await self._listener.fed_up_to(next_pass)
            next_pass = self._listener.fed + PARTIAL_SAMPLES
            if self._replying or is_busy(self._library.speech_to_text):
                continue
            text = await self._listener.transcribe()
            if text and text != heard:
                heard = text
                self._on_heard(Heard(text, is_final=False))
                await self._read_ahead(self._prompt.ahead(text))

    async def _read_ahead(self, prompt: str) -> None:
        if not is_busy(self._library.language):
            await call(self._library.language, lambda model: model.prefill(prompt))

    # -- the reply -----------------------------------------------------------------------------------------------------

    def _answer(self, watch: Stopwatch) -> AsyncGenerator[ReplyEvent]:
        history = self._turn.history
        if self._turn.script is not None:
            return self._say(self._turn.script, watch)
        if self._listener.fed:
            return self._answer_speech(watch)
        if results := _results_at_the_end(history):
            return self._say(well_formed(" ".join(map(say_result, results))), watch)
        if question := _typed_question(history):
            return self._answer_text(question, history[:-1], watch)
        return self._say(ANYTHING_ELSE if history else GREETING, watch)

    async def _answer_speech(self, watch: Stopwatch) -> AsyncGenerator[ReplyEvent]:
        """The endpointer waits for the final words, so they are told first; meanwhile it is decided who answers."""
        text = await self._listener.transcribe()
        watch.lap("transcribe")
        if not text:
            yield Heard("", is_final=True)
            return
        known = await self._decider.knows(text)
        deciding = self._tasks.create_task(_outcome(self._decide(text, self._turn.history)))
        try:
            completeness = KNOWN_SENTENCE if known else await self._completeness(text)
            yield Heard(text, is_final=True, end_of_sentence=completeness)
            watch.lap("judge_text")
            decision = _unwrapped(await deciding)
            watch.lap("match")
            async with aclosing(self._respond(decision, self._prompt.reply(text), watch)) as events:
                async for event in events:
                    yield event
        finally:
            deciding.cancel()

    async def _answer_text(
        self, question: str, history: tuple[HistoryItem, ...], watch: Stopwatch
    ) -> AsyncGenerator[ReplyEvent]:
        prompt = prompt_for(history, self._turn.instructions).reply(question)
        decision = await self._decide(question, history)
        watch.lap("match")
        async with aclosing(self._respond(decision, prompt, watch)) as events:
            async for event in events:
                yield event

    async def _completeness(self, text: str) -> float | None:
        """How likely the words are a whole sentence; None where the model is too busy to be waited for."""
        question = self._prompt.question(text)
        try:
            async with asyncio.timeout(JUDGE_PATIENCE_SEC):
                return await call(self._library.language, lambda model: model.end_of_sentence(question))
        except TimeoutError:
            return None

    async def _decide(self, text: str, history: tuple[HistoryItem, ...]) -> Decision:
        return await self._decider.decide(self._turn, text, history)

    async def _respond(self, decision: Decision, prompt: str, watch: Stopwatch) -> AsyncGenerator[ReplyEvent]:
        match decision:
            case ToolCall():
                yield decision
                return
            case Answer(text, reminders):
                for reminder in reminders:
                    yield reminder
                events = self._say(text, watch)
            case _:
                events = self._speaker(watch).speak(self._chatter(prompt))
        async with aclosing(events):
            async for event in events:
                yield event

    def _chatter(self, prompt: str) -> AsyncGenerator[str]:
        limits = {"max_tokens": LONGEST_REPLY_TOKENS, "max_sentences": LONGEST_REPLY_SENTENCES}
        return chatter(self._library.language, prompt, **limits)

    def _say(self, text: str, watch: Stopwatch) -> AsyncGenerator[TextDelta | AudioChunk]:
        return self._speaker(watch).speak(_one_by_one(clauses(text)))

    def _speaker(self, watch: Stopwatch) -> Speaker:
        voice = self._library.voice if self._turn.modality == "audio" else None
        return Speaker(voice, committed=self._committed, ahead_sec=SPECULATIVE_AUDIO_SEC, watch=watch)


async def _one_by_one(texts: Iterable[str]) -> AsyncGenerator[str]:
    for text in texts:
        yield text


async def _outcome(deciding: Awaitable[Decision]) -> Decision | BackendError:
    """A task that fails would take its group with it: a turn whose reply may be asked for again."""
    try:
        return await deciding
    except BackendError as error:
        return error


def _unwrapped(outcome: Decision | BackendError) -> Decision:
    if isinstance(outcome, BackendError):
        raise outcome
    return outcome


def _results_at_the_end(history: Sequence[HistoryItem]) -> list[str]:
    """What the tools returned that nobody has spoken of yet."""
    results = takewhile(lambda item: isinstance(item, ToolResult), reversed(history))
    return [item.output for item in results if isinstance(item, ToolResult)][::-1]


def _typed_question(history: Sequence[HistoryItem]) -> str | None:
    last = history[-1] if history else None
    if not isinstance(last, Message) or last.role != "user":
        return None
    return well_formed(last.text[-LONGEST_QUESTION:])
