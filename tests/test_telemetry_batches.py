"""Whoever ends a span waits for nothing, and what is lost is counted and said once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Tracer

from routing.telemetry.batches import Batches, NotTaken, TelemetryStatistics

PATIENCE_SEC = 5.0


class Door:
    """An outlet that can be held shut, or broken."""

    name = "The door"

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.knocked = threading.Event()
        self.knocks = 0
        self.fault: Exception | None = None
        self.batches: list[list[str]] = []
        self.closed = False

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        self.knocked.set()
        self.knocks += 1
        assert self.open.wait(PATIENCE_SEC)
        if self.fault:
            raise self.fault
        self.batches.append([span.name for span in spans])

    def close(self) -> None:
        self.closed = True


@contextmanager
def written_through(batches: Batches) -> Iterator[Tracer]:
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(batches)
    yield provider.get_tracer("test")
    batches.finish()
    batches.join(PATIENCE_SEC)


def write(tracer: Tracer, *names: str) -> None:
    for name in names:
        tracer.start_span(name).end()


def test_spans_leave_in_order_in_batches_and_to_the_last() -> None:
    door = Door()
    batches = Batches(door, batch_spans=2, delay_sec=PATIENCE_SEC)
    with written_through(batches) as tracer:
        write(tracer, *"abcde")
    assert door.batches == [["a", "b"], ["c", "d"], ["e"]]
    assert batches.statistics() == TelemetryStatistics(exported=5)
    assert door.closed


def test_what_comes_faster_than_it_can_leave_is_dropped_and_counted() -> None:
    door = Door()
    door.open.clear()
    batches = Batches(door, capacity=3, batch_spans=1, delay_sec=0.0)
    with written_through(batches) as tracer:
        write(tracer, "first")
        assert door.knocked.wait(PATIENCE_SEC)
        write(tracer, *"abcde")
        assert batches.statistics() == TelemetryStatistics(dropped_full=2)
        door.open.set()
    assert door.batches == [["first"], ["a"], ["b"], ["c"]]


@pytest.mark.parametrize("fault", [NotTaken("the disk is full"), ValueError("a bug")])
def test_trouble_is_said_once_and_its_end_too(fault: Exception, caplog: pytest.LogCaptureFixture) -> None:
    door = Door()
    door.fault = fault
    batches = Batches(door, batch_spans=1, delay_sec=0.0)
    with written_through(batches) as tracer, caplog.at_level(logging.INFO):
        write(tracer, "lost", "too")
        _until(lambda: batches.statistics().dropped_failed == 2)
        door.fault = None
        write(tracer, "taken")
        _until(lambda: batches.statistics().exported == 1)
    first, last = (record.getMessage() for record in caplog.records)
    assert first.startswith("The door takes no spans, they are dropped until it does: ")
    assert str(fault) in first
    assert last == "The door takes spans again; 2 were lost"


def test_whoever_leaves_tries_a_broken_door_once() -> None:
    door = Door()
    door.fault = NotTaken("shut")
    batches = Batches(door, batch_spans=1, delay_sec=PATIENCE_SEC)
    with written_through(batches) as tracer:
        write(tracer, *"abc")
    assert door.knocks == 1
    assert batches.statistics() == TelemetryStatistics(dropped_failed=3)


def test_whoever_leaves_does_not_wait_for_a_door_that_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    door = Door()
    door.open.clear()
    batches = Batches(door, batch_spans=1, delay_sec=0.0)
    with written_through(batches) as tracer:
        write(tracer, "held")
        assert door.knocked.wait(PATIENCE_SEC)
        write(tracer, "behind")
        batches.finish()
        batches.join(0.01)
        assert "The door does not answer: the last spans are lost" in caplog.text
        write(tracer, "too late")
        door.open.set()
    assert door.batches == [["held"]]
    assert batches.statistics() == TelemetryStatistics(exported=1, dropped_full=1, dropped_failed=1)


def test_of_a_door_that_was_given_up_nothing_more_is_said(caplog: pytest.LogCaptureFixture) -> None:
    door = Door()
    door.open.clear()
    door.fault = NotTaken("shut")
    batches = Batches(door, batch_spans=1, delay_sec=0.0)
    with written_through(batches) as tracer:
        write(tracer, "held")
        assert door.knocked.wait(PATIENCE_SEC)
        batches.finish()
        batches.join(0.01)
        door.open.set()
    assert batches.statistics() == TelemetryStatistics(dropped_failed=1)
    assert [record.getMessage() for record in caplog.records] == ["The door does not answer: the last spans are lost"]


def _until(come_true: Callable[[], bool]) -> None:
    while not come_true():
        time.sleep(0.005)
