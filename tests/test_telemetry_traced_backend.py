"""Attempts as spans: what each backend did, how it ended, and that nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.errors import AtCapacity, BackendError, BackendUnavailable
from routing.telemetry import names
from routing.telemetry.attempt_record import AttemptFigures
from routing.telemetry.phase import Phase
from routing.telemetry.traced_backend import MOST_UNWRITTEN, Journey, OpenTurns, TracedBackend
from routing.turns import Exchange, Heard, ReplyEnd, ReplyEvent, Turn
from tests.contenders import END, NEVER, SPEECH, TURN, Step, Timed, TimedExchange, sound
from tests.scripted import ScriptedBackend, say
from tests.traced import Tracing
from tests.virtual_time import VirtualTimeLoop, on_virtual_time

HELLO = (0.1, Heard("hello", is_final=True), 0.1, "Hello.", 0.1, sound(1.0), 0.1)
TIMINGS = {"queue": 50.0, "encode": 20.0, "prefill": 80.0, "first_text": 50.0, "first_audio": 100.0, "rest": 100.0}


def local(tracing: Tracing, *steps: Step, told: list[AttemptFigures] | None = None) -> TracedBackend:
    figures = told if told is not None else []
    return TracedBackend(Timed("device", *steps), spans=tracing.spans, model="tiny", on_attempt=figures.append)


def remote(tracing: Tracing, *steps: Step, told: list[AttemptFigures] | None = None) -> TracedBackend:
    figures = told if told is not None else []
    return TracedBackend(Timed("cloud", *steps), spans=tracing.spans, is_remote=True, on_attempt=figures.append)


@asynccontextmanager
async def opened(backend: TracedBackend, tracing: Tracing, turn: Turn = TURN) -> AsyncIterator[Exchange]:
    async with backend.open(tracing.turn(turn), on_heard=lambda _: None) as exchange:
        yield exchange


async def read(exchange: Exchange, *, most: int | None = None) -> list[ReplyEvent]:
    """A reply to its end, or closed after ``most`` events."""
    events: list[ReplyEvent] = []
    async with aclosing(exchange.reply()) as reply:
        async for event in reply:
            events.append(event)
            if len(events) == most:
                break
    return events


# -- a model in this process -------------------------------------------------------------------------------------------


@on_virtual_time
async def test_an_attempt_is_a_span_with_the_phases_that_its_model_tells() -> None:
    tracing, told = Tracing.begun(), list[AttemptFigures]()
    backend = local(tracing, *HELLO, ReplyEnd(TIMINGS, input_tokens=40, output_tokens=9), told=told)
    async with opened(backend, tracing) as exchange:
        exchange.feed(SPEECH)
        exchange.commit()
        await read(exchange)
        assert not tracing.written()  # it may still be spoken
    assert tracing.tree() == [
        "generate_content tiny",
        "  queue.wait",
        "  audio.encode",
        "  prefill",
        "  decode.first_text",
        "  decode.first_audio",
        "  stream",
    ]
    tracing.check()
    (span,) = tracing.named("generate_content tiny")
    assert span.duration_ms == pytest.approx(400, abs=0.01)
    known = {
        names.SESSION_ID: "sess_1",
        names.TURN_ID: "turn_1",
        names.GENAI_OPERATION: "generate_content",
        names.GENAI_MODEL: "tiny",
        names.GENAI_OUTPUT_TYPE: "speech",
        names.GENAI_INPUT_TOKENS: 40,
        names.GENAI_OUTPUT_TOKENS: 9,
        names.ATTEMPT: 1,
        names.ATTEMPT_OUTCOME: "told",
        names.ATTEMPT_SPECULATIVE: False,
        names.FIRST_SOUND_MS: 300,
        names.QUEUE_WAIT_MS: 50,
    }
    assert {name: span.attributes.get(name) for name in known} == known
    assert span.attributes[names.GENAI_FIRST_CHUNK] == pytest.approx(0.2)
    (figures,) = told
    assert (figures.backend, figures.model, figures.outcome) == ("device", "tiny", "told")
    assert (figures.input_tokens, figures.output_tokens, figures.sound_sec) == (40, 9, 1.0)
    assert figures.first_sec == pytest.approx(0.2)
    assert figures.first_sound_sec == pytest.approx(0.3)
    assert figures.duration_sec == pytest.approx(0.4)


@on_virtual_time
async def test_turns_that_were_left_are_forgotten() -> None:
    tracing, open_turns = Tracing.begun(), OpenTurns()
    backend = TracedBackend(Timed("device", *HELLO, END), spans=tracing.spans, open_turns=open_turns)
    async with opened(backend, tracing):
        assert len(open_turns.of(TURN.turn_id)) == 1
    assert not open_turns.of(TURN.turn_id)


@on_virtual_time
async def test_what_the_named_phases_leave_of_the_whole_is_the_rest() -> None:
    tracing = Tracing.begun()
    backend = local(tracing, *HELLO, ReplyEnd({"transcribe": 100.0, "first_text": 100.0, "total": 400.0}))
    async with opened(backend, tracing) as exchange:
        exchange.commit()
        await read(exchange)
    phases = [(span.name, round(span.duration_ms)) for span in tracing.written()[:-1]]
    assert phases == [("transcribe", 100), ("decode.first_text", 100), ("stream", 200)]


@on_virtual_time
async def test_an_attempt_that_is_closed_before_its_end_shows_what_was_seen_of_it() -> None:
    tracing, told = Tracing.begun(), list[AttemptFigures]()
    backend = local(tracing, *HELLO, NEVER, told=told)
    async with opened(backend, tracing) as exchange:
        exchange.feed(SPEECH)
        await read(exchange, most=1)
        exchange.commit()
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await read(exchange)
    assert tracing.tree() == [
        "generate_content tiny",
        "  transcribe",
        "generate_content tiny",
        "  transcribe",
        "  decode.first_text",
        "  decode.first_audio",
        "  stream",
    ]
    first, second = tracing.named("generate_content tiny")
    assert [first.attributes[names.ATTEMPT], second.attributes[names.ATTEMPT]] == [1, 2]
    assert [figures.outcome for figures in told] == ["rolled_back", "cancelled"]
    assert [figures.is_speculative for figures in told] == [True, False]
    assert not first.error


@on_virtual_time
async def test_an_answer_that_was_there_before_its_turn_was_over_counts_once_it_is() -> None:
    tracing, told = Tracing.begun(), list[AttemptFigures]()
    backend = local(tracing, "Too soon.", END, told=told)
    async with opened(backend, tracing) as exchange:
        await read(exchange)
        await read(exchange)
        assert not told  # either may be the one
        exchange.commit()
        assert not tracing.written()  # nothing is written in the way of the sound that is released now
        await asyncio.sleep(1.0)
    assert [figures.outcome for figures in told] == ["rolled_back", "told"]
    assert [figures.duration_sec for figures in told] == [0.0, 0.0]
    tracing.check()


@on_virtual_time
async def test_an_answer_that_nobody_wanted_is_rolled_back() -> None:
    tracing, told = Tracing.begun(), list[AttemptFigures]()
    async with opened(local(tracing, "Device.", END, told=told), tracing) as exchange:
        await read(exchange)
    assert [figures.outcome for figures in told] == ["rolled_back"]


@pytest.mark.parametrize(
    ("fault", "outcome", "words"),
    [
        (BackendUnavailable("of the caller's words"), "failed", "unavailable"),
        (AtCapacity("of the caller's words", retry_after_sec=1), "refused", "at capacity"),
        (RuntimeError("of the caller's words"), "failed", "failed"),
    ],
)
@on_virtual_time
async def test_a_failure_is_told_in_an_operators_words(fault: Exception, outcome: str, words: str) -> None:
    tracing, told = Tracing.begun(), list[AttemptFigures]()
    for backend in (local(tracing, "Dev", fault, told=told), remote(tracing, "Clo", fault, told=told)):
        async with opened(backend, tracing) as exchange:
            with pytest.raises(type(fault)) as raised:
                await read(exchange)
            assert raised.value is fault
    assert [figures.outcome for figures in told] == [outcome, outcome]
    failed = [*tracing.named("generate_content tiny"), *tracing.named("infer.attempt"), *tracing.named("infer.request")]
    assert len(failed) == 3
    assert [span.error for span in failed] == [words] * 3
    assert {span.attributes[names.ERROR_TYPE] for span in failed} == {type(fault).__name__}
    assert "caller's" not in str(tracing.written())


@on_virtual_time
async def test_a_reply_that_stops_without_its_end_has_failed() -> None:
    tracing, told = Tracing.begun(), list[AttemptFigures]()
    async with opened(local(tracing, "Dev", told=told), tracing) as exchange:
        await read(exchange)
    assert [figures.outcome for figures in told] == ["failed"]


@on_virtual_time
async def test_an_exchange_of_which_nothing_was_asked_writes_nothing() -> None:
    tracing = Tracing.begun()
    for backend in (local(tracing, *HELLO, END), remote(tracing, *HELLO, END)):
        async with opened(backend, tracing) as exchange:
            exchange.feed(SPEECH)
            exchange.reply()  # and not read
            exchange.commit()
    assert not tracing.written()


@on_virtual_time
async def test_without_a_trace_a_backend_is_opened_as_it_is() -> None:
    tracing, told = Tracing.begun(), list[AttemptFigures]()
    silent = TracedBackend(Timed("device", END), spans=tracing.spans)
    async with silent.open(TURN, on_heard=lambda _: None) as exchange:
        assert isinstance(exchange, TimedExchange)
    counted = local(tracing, "Device.", END, told=told)
    async with counted.open(TURN, on_heard=lambda _: None) as exchange:
        exchange.commit()
        await read(exchange)
    assert [(figures.outcome, figures.carrier) for figures in told] == [("told", {})]


@on_virtual_time
async def test_the_wait_of_an_attempt_links_to_the_batch_that_admitted_it() -> None:
    tracing = Tracing.begun()
    batch = tracing.spans.begin(names.STEP_WINDOW, at=0.0)
    backend = local(tracing, "Device.", ReplyEnd({"queue": 0.0, "rest": 0.0}))
    assert backend.attempt_carrier("turn_1") is None
    backend.link_admission("turn_1", batch.carrier)  # nobody is there
    async with opened(backend, tracing) as exchange, aclosing(exchange.reply()) as reply:
        exchange.commit()
        await anext(reply)
        carrier = backend.attempt_carrier("turn_1")
        backend.link_admission("turn_1", batch.carrier)
        await anext(reply)
        assert await anext(reply, None) is None
        assert backend.attempt_carrier("turn_1") is None
    (wait,) = tracing.named("queue.wait")
    assert carrier is not None
    assert carrier["traceparent"].split("-")[2] == wait.parent_id
    assert [link[1] for link in wait.links] == [batch.carrier["traceparent"].split("-")[2]]


# -- a backend elsewhere -----------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_backend_elsewhere_continues_the_exchanges_own_span() -> None:
    tracing, wrapped = Tracing.begun(), Timed("cloud", *HELLO, END)
    backend = TracedBackend(wrapped, spans=tracing.spans, is_remote=True)
    async with opened(backend, tracing) as exchange:
        await asyncio.sleep(0.5)
        await read(exchange, most=1)
        await read(exchange)
        exchange.commit()
        await asyncio.sleep(0.5)
    tracing.check()
    assert tracing.tree() == ["infer.request", "  infer.attempt", "  infer.attempt"]
    (request,), (first, second) = tracing.named("infer.request"), tracing.named("infer.attempt")
    (carried,) = (turn.trace_context["traceparent"] for turn in wrapped.turns)
    assert carried.split("-")[2] == request.span_id
    assert request.duration_ms == pytest.approx(1500, abs=0.01)
    assert first.attributes[names.ATTEMPT_OUTCOME] == "rolled_back"
    assert second.attributes[names.ATTEMPT_OUTCOME] == request.attributes[names.ATTEMPT_OUTCOME] == "told"
    assert request.attributes[names.FIRST_SOUND_MS] == 300
    assert not [name for name in request.attributes if name.startswith("gen_ai.") and name != names.CONVERSATION_ID]


class Far(Timed):
    """Its exchanges tell of their way."""

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:
        async with super().open(turn, on_heard=on_heard) as exchange:
            yield FarExchange(exchange)


class FarExchange:
    def __init__(self, exchange: Exchange) -> None:
        self.feed, self.reply, self.commit = exchange.feed, exchange.reply, exchange.commit

    def journey(self) -> Journey:
        connect = Phase(name=names.CLOUD_CONNECT, begin=0.0, end=0.03)
        return Journey(phases=(connect,), attributes={names.REPLICA_ID: "one", names.RPC_SYSTEM: "ray_serve"})


@on_virtual_time
async def test_the_way_to_a_backend_elsewhere_is_told_where_it_is_known() -> None:
    tracing = Tracing.begun()
    backend = TracedBackend(
        Far("cloud", "Cloud.", 0.1, ReplyEnd({"first_sound": 60.0, "total": 100.0})),
        spans=tracing.spans,
        is_remote=True,
        tells_phases=True,
    )
    async with opened(backend, tracing) as exchange:
        exchange.commit()
        await read(exchange)
    assert tracing.tree() == ["infer.request", "  cloud.connect", "  infer.attempt", "    first_sound", "    stream"]
    (request,) = tracing.named("infer.request")
    assert (request.attributes[names.REPLICA_ID], request.attributes[names.RPC_SYSTEM]) == ("one", "ray_serve")


# -- whatever its reader does ------------------------------------------------------------------------------------------

type Act = str | int | float  # "ask", "close", "commit", "feed", so many events to be read, so many seconds

ACTS = st.lists(
    st.one_of(
        st.sampled_from(["ask", "ask", "close", "commit", "feed"]),
        st.integers(1, 8),
        st.sampled_from([0.05, 0.25, 0.5]),
    ),
    max_size=12,
)
STORIES: Sequence[tuple[Step, ...]] = (
    (*HELLO, ReplyEnd(TIMINGS)),
    (*HELLO, NEVER),
    (0.1, "Half", BackendUnavailable("gone")),
    (0.1, "Half"),
    (END,),
)


class Reader:
    """Does as it was told, with at most one reply open, and writes down what it got, and when."""

    def __init__(self, exchange: Exchange) -> None:
        self.got: list[object] = []
        self._exchange = exchange
        self._reply: AsyncGenerator[ReplyEvent] | None = None
        self._is_committed = False

    async def act(self, act: Act) -> None:
        match act:
            case "ask":
                await self.close()
                self._reply = self._exchange.reply()
            case "close":
                await self.close()
            case "commit" if not self._is_committed:
                self._exchange.commit()
                self._is_committed = True
            case "feed":
                self._exchange.feed(SPEECH)
            case int():
                await self._read(act)
            case float():
                await asyncio.sleep(act)

    async def _read(self, most: int) -> None:
        for _ in range(most):
            if not self._reply:
                return
            event: object = None
            try:
                async with asyncio.timeout(5.0):
                    event = await anext(self._reply, None)
            except (BackendError, TimeoutError) as error:
                event = repr(error)
            self.got.append((event, asyncio.get_running_loop().time()))
            if event is None or isinstance(event, str):
                await self.close()

    async def close(self) -> None:
        if self._reply:
            await self._reply.aclose()
            self._reply = None


async def acted(backend: TracedBackend | Timed, turn: Turn, acts: Sequence[Act]) -> list[object]:
    async with backend.open(turn, on_heard=lambda _: None) as exchange:
        reader = Reader(exchange)
        try:
            for act in acts:
                await reader.act(act)
        finally:
            await reader.close()
    return reader.got


@settings(max_examples=40)
@given(acts=ACTS, steps=st.sampled_from(STORIES), is_remote=st.booleans())
def test_whatever_its_reader_does_each_attempt_is_written_once_and_passes_as_it_was(
    acts: Sequence[Act], steps: Sequence[Step], is_remote: bool
) -> None:
    plain, wrapped, told = Timed("device", *steps), Timed("device", *steps), list[AttemptFigures]()

    async def traced() -> list[object]:
        tracing = Tracing.begun()
        backend = TracedBackend(wrapped, spans=tracing.spans, is_remote=is_remote, on_attempt=told.append)
        got = await acted(backend, tracing.turn(TURN), acts)
        tracing.check()
        attempts = tracing.named("infer.attempt" if is_remote else "generate_content device")
        assert sorted(span.attributes[names.ATTEMPT] for span in attempts) == list(range(1, wrapped.asked + 1))  # type: ignore[type-var]
        assert len(tracing.named("infer.request")) == (is_remote and wrapped.asked > 0)
        return got

    assert on_new_loop(traced()) == on_new_loop(acted(plain, TURN, acts))
    assert len(told) == wrapped.asked == plain.asked
    assert wrapped.rolled_back == plain.rolled_back
    assert [exchange.is_committed for exchange in wrapped.exchanges] == [plain.committed > 0]
    assert sum(figures.outcome == "told" for figures in told) <= max(plain.committed * wrapped.asked, 0)


def on_new_loop(story: Coroutine[None, None, list[object]]) -> list[object]:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(story)


@on_virtual_time
async def test_who_is_cancelled_in_the_midst_has_written_all() -> None:
    tracing, told = Tracing.begun(), list[AttemptFigures]()

    async def turn() -> None:
        async with opened(local(tracing, *HELLO, NEVER, told=told), tracing) as exchange:
            await read(exchange)

    reading = asyncio.create_task(turn())
    await asyncio.sleep(1.0)
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading
    assert [figures.outcome for figures in told] == ["rolled_back"]
    tracing.check()


@on_virtual_time
async def test_an_attempt_ends_with_its_last_event_however_long_its_reader_keeps_it() -> None:
    tracing, told = Tracing.begun(), list[AttemptFigures]()
    backend = local(tracing, 0.1, "Device.", END, told=told)
    async with opened(backend, tracing) as exchange, aclosing(exchange.reply()) as reply:
        await anext(reply)
        exchange.commit()
        assert isinstance(await anext(reply), ReplyEnd)
        await asyncio.sleep(1.0)
    (figures,) = told
    assert figures.outcome == "told"
    assert figures.duration_sec == pytest.approx(0.1)
    assert tracing.written()[-1].duration_ms == pytest.approx(100, abs=0.01)


@on_virtual_time
async def test_a_reply_that_is_left_open_is_written_with_its_exchange_and_not_again() -> None:
    tracing, told = Tracing.begun(), list[AttemptFigures]()
    backend = TracedBackend(ScriptedBackend(say("hello")), spans=tracing.spans, on_attempt=told.append)
    async with opened(backend, tracing) as exchange:
        exchange.commit()
        reply = exchange.reply()
        await anext(reply)
    await reply.aclose()
    assert [figures.outcome for figures in told] == ["cancelled"]
    tracing.check()


@pytest.mark.parametrize("content", [False, True])
@on_virtual_time
async def test_what_was_said_and_answered_is_written_only_where_it_was_asked_for(content: bool) -> None:
    tracing, words = Tracing.begun(), (Heard("SECRET", is_final=True), "as", "ked", END)
    for is_remote, tells_phases in ((False, False), (True, True), (True, False)):
        backend = TracedBackend(
            Timed("one", *words),
            spans=tracing.spans,
            is_remote=is_remote,
            tells_phases=tells_phases,
            content=content,
        )
        async with opened(backend, tracing) as exchange:
            exchange.commit()
            await read(exchange)
    written = [span.attributes for span in tracing.written() if names.CONTENT_INPUT in span.attributes]
    assert len(written) == (2 if content else 0)  # what is elsewhere is written there
    for attributes in written:
        assert attributes[names.CONTENT_INPUT] == '[{"role": "user", "parts": [{"type": "text", "content": "SECRET"}]}]'
        assert '"asked"' in str(attributes[names.CONTENT_OUTPUT])
    assert content or "SECRET" not in str(tracing.written())


@pytest.mark.parametrize("is_spoken", [False, True])
@on_virtual_time
async def test_what_was_typed_is_over_when_it_is_asked(is_spoken: bool) -> None:
    tracing, told = Tracing.begun(), list[AttemptFigures]()
    async with opened(local(tracing, "Device.", END, told=told), tracing) as exchange:
        if is_spoken:
            exchange.feed(SPEECH)
        await read(exchange)
    assert [figures.is_speculative for figures in told] == [is_spoken]


@on_virtual_time
async def test_of_one_who_pauses_again_and_again_not_everything_is_kept_for_the_end() -> None:
    tracing, told = Tracing.begun(), list[AttemptFigures]()
    async with opened(local(tracing, "Device.", END, told=told), tracing) as exchange:
        for _ in range(MOST_UNWRITTEN + 3):
            await read(exchange)
        assert len(told) == 3
    assert [figures.outcome for figures in told] == ["rolled_back"] * (MOST_UNWRITTEN + 3)
    tracing.check()


@on_virtual_time
async def test_a_fault_of_who_counts_is_no_fault_of_the_turn(caplog: pytest.LogCaptureFixture) -> None:
    def miscount(figures: AttemptFigures) -> None:
        raise ZeroDivisionError

    tracing = Tracing.begun()
    backend = TracedBackend(Timed("device", "Device.", END), spans=tracing.spans, on_attempt=miscount)
    async with opened(backend, tracing) as exchange:
        exchange.commit()
        assert len(await read(exchange)) == 2
    assert [record.message for record in caplog.records] == ["an attempt at a turn could not be written down"]
    assert tracing.named("generate_content device")


@on_virtual_time
async def test_what_an_attempt_did_after_the_users_words_is_not_known_where_nothing_came() -> None:
    tracing = Tracing.begun()
    async with opened(local(tracing, 0.1, Heard("hello", is_final=True), NEVER), tracing) as exchange:
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await read(exchange)
    assert tracing.tree() == ["generate_content tiny", "  transcribe"]
