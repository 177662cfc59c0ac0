"""How far a run is: one line that changes for people, and a line now and then for programs and logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape

LINE_SEC: Final = 15.0  # between two lines in a log that say the same with other figures


@contextmanager
def progressing(console: Console) -> Iterator[Callable[[str], None]]:
    """Inside the block, each message replaces the one before; outside a terminal not every one becomes a line."""
    if console.is_terminal:
        with console.status("") as status:
            yield lambda message: status.update(escape(message))
        return
    yield SparsePrinter(lambda line: console.print(line, markup=False, soft_wrap=True), time.monotonic).tell


class SparsePrinter:
    """Prints a message with other words at once, and one with other figures only now and then."""

    def __init__(self, print_line: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._print = print_line
        self._clock = clock
        self._words = ""
        self._printed_at = float("-inf")

    def tell(self, message: str) -> None:
        words, now = "".join(letter for letter in message if not (letter.isdigit() or letter == ".")), self._clock()
        if words != self._words or now - self._printed_at >= LINE_SEC:
            self._words, self._printed_at = words, now
            self._print(message)
