"""How finished spans leave the process: in batches, on a thread of their own, and never at the cost of a turn."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import batched
from queue import Empty, SimpleQueue
from typing import Protocol

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

logger = logging.getLogger(__name__)

BATCH_SPANS = 64  # encoding some hundreds at once holds the interpreter for longer than a frame of sound lasts
DELAY_SEC = 0.3  # spans of a turn end together: they are waited for, and leave as one
CAPACITY = 4096  # a few hundred turns


class NotTaken(Exception):
    """An outlet could not pass a batch on; the message says why, for an operator."""


class Outlet(Protocol):
    """A way out of the process. Called on one thread, which may wait."""

    name: str  # how log lines call it

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        """Raises NotTaken."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class TelemetryStatistics:
    """Spans by what became of them, since the program began. Those that go to two places count twice."""

    exported: int = 0
    dropped_full: int = 0  # they came faster than they could leave
    dropped_failed: int = 0  # nobody took them

    def __add__(self, other: TelemetryStatistics) -> TelemetryStatistics:
        return TelemetryStatistics(
            exported=self.exported + other.exported,
            dropped_full=self.dropped_full + other.dropped_full,
            dropped_failed=self.dropped_failed + other.dropped_failed,
        )


class Batches(SpanProcessor):
    """Hands spans to one outlet. Whoever ends a span waits for nothing; where the queue is full, it is dropped.

    The SDK's own processor exports on its caller's thread when it is flushed, for longer than it was given, and does
    not tell what it lost. What an outlet does not take is lost: repeating it would only put off what comes next.
    """

    def __init__(
        self, outlet: Outlet, *, capacity: int = CAPACITY, batch_spans: int = BATCH_SPANS, delay_sec: float = DELAY_SEC
    ) -> None:
        self._outlet = outlet
        self._capacity = capacity
        self._batch_spans = batch_spans
        self._delay_sec = delay_sec
        self._queue: SimpleQueue[ReadableSpan | None] = SimpleQueue()  # None: there is no more
        self._closing = threading.Event()
        self._hopeless = False
        self._in_trouble = False
        self._exported = 0
        self._dropped_full = 0
        self._dropped_failed = 0
        self._thread = threading.Thread(target=self._run, name="telemetry-batches", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Called on the event loop. It takes no lock that the exporting thread could hold."""
        if self._closing.is_set() or self._queue.qsize() >= self._capacity:
            self._dropped_full += 1
        else:
            self._queue.put(span)

    def statistics(self) -> TelemetryStatistics:
        return TelemetryStatistics(self._exported, self._dropped_full, self._dropped_failed)

    def finish(self) -> None:
        """No more spans are taken; those that are here leave at once."""
        if not self._closing.is_set():
            self._closing.set()
            self._queue.put(None)

    def join(self, timeout_sec: float) -> None:
        """After `finish`: wait until all have left, or give up those that are still here. Not on the event loop."""
        self._thread.join(max(0.0, timeout_sec))
        if self._thread.is_alive():
            self._hopeless = True
            logger.warning("%s does not answer: the last spans are lost", self._outlet.name)

    def shutdown(self) -> None:
        """As the SDK calls it. Nobody has spans of a program that ends, so it does not wait for long."""
        self.finish()
        self.join(self._delay_sec)

    def _run(self) -> None:
        while first := self._queue.get():
            self._closing.wait(self._delay_sec)
            for batch in batched(self._waiting(first), self._batch_spans):
                self._export(batch)
        self._outlet.close()

    def _waiting(self, first: ReadableSpan) -> Iterator[ReadableSpan]:
        span: ReadableSpan | None = first
        while span:
            yield span
            try:
                span = self._queue.get_nowait()
            except Empty:
                return
        self._queue.put(None)  # the end is for `_run` to see

    def _export(self, batch: Sequence[ReadableSpan]) -> None:
        if self._hopeless:
            self._dropped_failed += len(batch)
            return
        try:
            self._outlet.send(batch)
        except NotTaken as reason:
            self._dropped_failed += len(batch)
            self._was_not_taken(str(reason))
        except Exception as error:  # noqa: BLE001  (a fault of an outlet must not end the thread)
            self._dropped_failed += len(batch)
            self._was_not_taken(repr(error))
        else:
            self._exported += len(batch)
            self._was_taken()

    def _was_not_taken(self, reason: str) -> None:
        """Said once, not at each batch of a long night. Whoever leaves does not try again and again."""
        was_given_up, self._hopeless = self._hopeless, self._closing.is_set()
        if not (self._in_trouble or was_given_up):  # of one that was given up it was said when it was
            self._in_trouble = True
            logger.warning("%s takes no spans, they are dropped until it does: %s", self._outlet.name, reason)

    def _was_taken(self) -> None:
        if self._in_trouble:
            self._in_trouble = False
            logger.warning("%s takes spans again; %d were lost", self._outlet.name, self._dropped_failed)
