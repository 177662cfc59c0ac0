"""The one thread on which an engine is built, warmed up and run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue

CLOSING_SEC = 5.0


class EngineThread:
    """Does what it is given, one thing after another, until it is closed. It does not keep the program from ending.

    That it is one thread for all is worth a factor of 1.7 on a CPU: each thread that computes with PyTorch gets
    helpers of its own, and as soon as there are more of them than cores, GNU's OpenMP lets all of them sleep between
    any two operations. So nobody else may compute, also not before.
    """

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._do_all, name="engine", daemon=True)
        self._thread.start()

    def do[Result](self, work: Callable[[], Result]) -> Future[Result]:
        """Have ``work`` done when what was given before is done."""
        future: Future[Result] = Future()

        def settle() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is told to who waits
                future.set_exception(error)

        self._work.put(settle)
        return future

    def close(self) -> None:
        """End the thread once it has done what was given to it. Nobody waits for long for one that is stuck.

        To be called before the program ends: what PyTorch keeps for a thread must not outlive the interpreter.
        """
        self._work.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSING_SEC)

    def _do_all(self) -> None:
        while (work := self._work.get()) is not None:
            work()
