"""One thread for one model, shared by every session."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from routing.errors import ModelError


@dataclass(frozen=True, slots=True)
class ModelThreadStatistics:
    """``waiting`` calls have not begun, ``calls`` have ended; ``busy_sec`` is the time spent in those.

    ``running_sec`` is how long the call that runs has been running; 0 between calls.
    """

    name: str
    waiting: int
    calls: int
    busy_sec: float
    running_sec: float = 0.0


@dataclass(frozen=True, slots=True)
class _Finished:
    """The last thing a stream sends."""

    error: BaseException | None


class ModelThread:
    """Runs the calls of one model one after the other, in the order asked for, away from the event loop.

    A model uses one core at a time: two calls at once would only make both of them late.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._pending: set[Future[Any]] = set()
        self._closed = threading.Event()
        self._calls = 0
        self._busy_sec = 0.0
        self._began: float | None = None  # the call that runs

    async def run[T](self, function: Callable[[], T]) -> T:
        """What ``function`` returns or raises. A call cancelled before it begins is never made."""
        future = self._submit(function)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if self._closed.is_set() and not _being_cancelled():
                raise self._closed_error() from None
            raise

    async def stream[U](self, function: Callable[[Callable[[U], bool]], None]) -> AsyncGenerator[U]:
        """The values that ``function`` hands to its argument ``emit``, as they come.

        ``emit`` returns True when the reader has gone; the function should then return. It never waits for
        the reader, since one slow session would then hold up all others: what is queued is bounded by what
        one function emits.
        """
        loop = asyncio.get_running_loop()
        values: asyncio.Queue[U | _Finished] = asyncio.Queue()
        reader_gone = threading.Event()

        def send(value: U | _Finished) -> None:
            try:
                loop.call_soon_threadsafe(values.put_nowait, value)
            except RuntimeError:  # the loop is closed, and the reader with it
                reader_gone.set()

        def emit(value: U) -> bool:
            send(value)
            return reader_gone.is_set() or self._closed.is_set()

        future = self._submit(lambda: function(emit))
        future.add_done_callback(lambda ended: send(_Finished(self._error_of(ended))))
        try:
            while not isinstance(value := await values.get(), _Finished):
                yield value
            if value.error is not None:
                raise value.error
        finally:
            reader_gone.set()
            future.cancel()

    def statistics(self) -> ModelThreadStatistics:
        waiting = sum(not future.running() for future in tuple(self._pending))
        began = self._began
        running_sec = 0.0 if began is None else time.perf_counter() - began
        return ModelThreadStatistics(self.name, waiting, self._calls, self._busy_sec, running_sec)

    def close(self, last: Callable[[], object] | None = None) -> None:
        """Refuse new calls, drop those that have not begun, stop streams, and run ``last`` at the very end.

        Does not wait, so that the event loop may call it; `join` waits, and so does the interpreter's exit.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        for future in tuple(self._pending):
            future.cancel()
        if last is not None:
            self._executor.submit(last)
        self._executor.shutdown(wait=False)

    def join(self) -> None:
        """Wait until the thread has ended; only after `close`, and never on the event loop."""
        self._executor.shutdown(wait=True)

    def _submit[T](self, function: Callable[[], T]) -> Future[T]:
        if self._closed.is_set():
            raise self._closed_error()
        future = self._executor.submit(self._timed, function)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return future

    def _timed[T](self, function: Callable[[], T]) -> T:
        began = self._began = time.perf_counter()
        try:
            return function()
        finally:
            self._began = None
            self._busy_sec += time.perf_counter() - began
            self._calls += 1

    def _error_of(self, ended: Future[None]) -> BaseException | None:
        return self._closed_error() if ended.cancelled() else ended.exception()

    def _closed_error(self) -> ModelError:
        return ModelError(f"the model thread {self.name!r} is closed")


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
