"""The signals that end a program."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # not every system has the last one

type Handler = Callable[[int, FrameType | None], object]


def ending_signals() -> list[signal.Signals]:
    """Those that end this program. Who started it may have wished that the end of their terminal does not."""
    there_are = [signal.Signals[name] for name in _NAMES if hasattr(signal, name)]
    return [number for number in there_are if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def signals_caught(numbers: Iterable[signal.Signals], handler: Handler) -> Iterator[None]:
    """Have ``handler`` told of signals until the block ends."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
