"""A batch and the attempts that it admitted know of each other."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from deployments.batch import Batch
from deployments.batch_trace import BatchTrace
from routing.telemetry import names
from routing.telemetry.program import Telemetry
from routing.telemetry.spans import Clock, trace_id_of
from routing.telemetry.traced_backend import TracedBackend
from routing.turns import ReplyEnd, ReplyEvent, Samples, TextDelta, Turn
from tests.scripted import ScriptedBackend

PARENT = {"traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-03"}


async def waiting(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
    yield TextDelta("Good ")
    yield ReplyEnd({"queue": 20.0, "rest": 5.0})


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry.within(Clock(now=0.0, epoch_ns=0), service=names.REPLICA)


async def test_a_batch_is_a_trace_of_its_own_that_is_linked_both_ways(telemetry: Telemetry) -> None:
    spans = telemetry.spans(names.REPLICA)
    backend = TracedBackend(ScriptedBackend(waiting), spans=spans, model="m", kind="server")
    batches = BatchTrace(spans, backend)
    turn = Turn(session_id="s", turn_id="t", index=0, script="hello", trace_context=PARENT)
    async with backend.open(turn, on_heard=lambda _: None) as exchange:
        exchange.commit()
        async with aclosing(exchange.reply()) as reply:
            await anext(reply)
            attempt = backend.attempt_carrier("t")
            assert attempt
            batches.write(Batch(began=1.0, ended=1.02, size=3, admitted=("t", "untraced"), prefill_tokens=40))
            assert [event async for event in reply]
    batches.write(Batch(began=2.0, ended=2.5, size=1, admitted=("untraced",)))
    written = {span.name: span for span in telemetry.book.trace(trace_id_of(PARENT))}
    (link,) = written[names.QUEUE_WAIT].links
    (step,) = telemetry.book.trace(link[0])
    model = written["generate_content m"]
    assert (step.name, step.span_id, step.links) == (names.STEP_WINDOW, link[1], ((model.trace_id, model.span_id),))
    assert step.attributes == {
        names.BATCH_SIZE: 3,
        names.BATCH_MESSAGES: 3,
        names.BATCH_ADMITTED: 2,
        names.BATCH_PREFILL_TOKENS: 40,
        names.STEP_MS: 20,
    }
    assert written["stream"].links == ()
