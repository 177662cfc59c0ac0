"""One turn answered by a server of the OpenAI Realtime protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from edge_client.audio import Resampler
from edge_client.stopwatch import Stopwatch
from edge_client.upstream.client_events import ANSWER, COMMIT, WIRE_SAMPLE_RATE, Json, append, opening
from edge_client.upstream.line import Line, Server
from edge_client.upstream.reader import ReplyReader
from routing.errors import BackendError, UnsuitedTurn
from routing.telemetry import names
from routing.telemetry.carrier import plain_carrier
from routing.telemetry.traced_backend import Journey
from routing.turns import SPEECH_SAMPLE_RATE, AudioChunk, Heard, ReplyEnd, ReplyEvent, TextDelta, Turn

MAXIMUM_SPEECH_SEC = 120.0  # in one turn: it is kept, for it may have to be said again
RPC_SYSTEM = "openai_realtime"
WORDS_PATIENCE_SEC = 2.0  # for the words of the user, when the reply is complete


class UpstreamExchange:
    """Sends the user's speech on while it comes, and asks for an answer. Made by `UpstreamBackend.open`.

    A server cannot take back that it was asked, or not without a trace. So an attempt that is rolled back ends with its
    connection, and the next speech begins another one with everything that was said so far.
    """

    def __init__(
        self,
        turn: Turn,
        *,
        server: Server,
        voice: str,
        tasks: asyncio.TaskGroup,
        on_heard: Callable[[Heard], None],
    ) -> None:
        self._turn = turn
        self._server = server
        self._voice = voice
        self._tasks = tasks
        self._on_heard = on_heard
        self._resampler = Resampler(SPEECH_SAMPLE_RATE, WIRE_SAMPLE_RATE)
        self._speech: list[Json] = []
        self._speech_sec = 0.0
        self._committed = False
        self._replying = False
        self._lines: list[Line] = []  # one for each attempt
        self._line: Line | None = None  # of the attempt that is being made, or will be
        self._fault = _unanswerable(turn)
        if not self._fault:
            self._connect()

    def feed(self, chunk: AudioChunk) -> None:
        assert chunk.sample_rate == SPEECH_SAMPLE_RATE
        if self._fault:
            return
        self._speech_sec += chunk.duration_sec
        if self._speech_sec > MAXIMUM_SPEECH_SEC:
            self._give_up(UnsuitedTurn(f"expected at most {MAXIMUM_SPEECH_SEC:.0f} s of speech in a turn, got more"))
            return
        if len(sound := self._resampler.feed(chunk.samples)):
            self._pass_on(append(sound))

    def commit(self) -> None:
        self._committed = True
        if self._line:
            self._line.commit()

    async def reply(self) -> AsyncGenerator[ReplyEvent]:
        """See `routing.turns.Exchange`. What the user said may be told after the first words of the answer."""
        assert not self._replying, "one reply at a time"
        if self._fault:
            raise self._fault
        line = self._line or self._connect()
        self._replying = True
        try:
            async with aclosing(self._ask(line)) as events:
                async for event in events:
                    yield event
        finally:
            self._replying, self._line = False, None
            if not line.is_over:
                line.drop()

    def close(self) -> None:
        """Let go of the server."""
        for line in self._lines:
            line.drop()

    def journey(self) -> Journey:
        """See `routing.telemetry.traced_backend.Travelled`."""
        return Journey(
            phases=tuple(line.connecting.phase(names.UPSTREAM_CONNECT) for line in self._lines),
            attributes={names.RPC_SYSTEM: RPC_SYSTEM},
        )

    # -- the connection ------------------------------------------------------------------------------------------------

    def _connect(self) -> Line:
        """A connection over which all was said that is known so far."""
        line = Line(
            self._server,
            headers=plain_carrier(self._turn.trace_context),
            opening=[*opening(self._turn, voice=self._voice), *self._speech],
            tasks=self._tasks,
        )
        if self._committed:
            line.commit()
        self._lines.append(line)
        self._line = line
        return line

    def _pass_on(self, event: Json) -> None:
        """While a reply runs nothing is sent: it could only be part of another attempt."""
        self._speech.append(event)
        if self._line is None:
            self._connect()
        elif not self._replying:
            self._line.send(event)

    def _give_up(self, fault: BackendError) -> None:
        self._fault = fault
        self.close()

    # -- the reply -----------------------------------------------------------------------------------------------------

    async def _ask(self, line: Line) -> AsyncGenerator[ReplyEvent]:
        """The resampler keeps the last millisecond, which is part of the pause."""
        watch = Stopwatch(asyncio.get_running_loop().time)
        for event in (COMMIT, ANSWER) if self._speech else (ANSWER,):
            line.send(event)
        reader = ReplyReader(spoken=bool(self._speech), on_heard=self._on_heard)
        while not reader.finished:
            news = await _next(line, reader)
            if news is None:
                break
            for told in reader.read(news):
                watch.lap(_phase(told))
                yield told
        line.hang_up()
        yield ReplyEnd(watch.laps_ms(), input_tokens=reader.input_tokens, output_tokens=reader.output_tokens)


async def _next(line: Line, reader: ReplyReader) -> Json | None:
    """The next event, or None if only words of the user are missing, and do not come."""
    try:
        async with asyncio.timeout(WORDS_PATIENCE_SEC if reader.complete else None):
            return await line.receive()
    except TimeoutError:
        return None
    except BackendError:
        if reader.complete:
            return None
        raise


def _phase(event: ReplyEvent) -> str:
    """What has taken until this event, by its name in the report of the turn."""
    match event:
        case Heard():
            return "transcribe"
        case TextDelta():
            return "first_words"
        case AudioChunk():
            return "first_sound"
        case _:
            return "tool_call"


def _unanswerable(turn: Turn) -> BackendError | None:
    if turn.privacy == "device_only":
        return UnsuitedTurn("expected a turn that may leave the device, got one that may not")
    if turn.script is not None:
        return UnsuitedTurn("expected a turn to answer, got a text to say to the letter")
    return None
