"""What the threads of models tell of how much they have to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_client.models.thread import ModelThread, ModelThreadStatistics
from routing.errors import BackendUnavailable


@dataclass(frozen=True, slots=True)
class Workload:
    """The threads, and what each had done before the first turn: to load a model takes longer than any call."""

    threads: tuple[ModelThread, ...]
    before: tuple[ModelThreadStatistics, ...]

    @classmethod
    def since_now(cls, threads: Sequence[ModelThread]) -> Workload:
        return cls(tuple(threads), tuple(thread.statistics() for thread in threads))

    def queue_wait_sec(self) -> float:
        """How long a reply that asks each model once would wait for those who came before it."""
        pairs = zip(self.threads, self.before, strict=True)
        return sum(_wait_sec(thread.statistics(), before) for thread, before in pairs)

    def check(self, stuck_after_sec: float) -> None:
        """Raises BackendUnavailable where a model has been at one call for so long that it will not end."""
        for now in (thread.statistics() for thread in self.threads):
            if now.running_sec > stuck_after_sec:
                raise BackendUnavailable(f"the model {now.name!r} has been at one call for {now.running_sec:.0f} s")


def _wait_sec(now: ModelThreadStatistics, before: ModelThreadStatistics) -> float:
    """Of a call that runs, half is left on average."""
    calls = now.calls - before.calls
    mean_sec = (now.busy_sec - before.busy_sec) / calls if calls else 0.0
    return mean_sec * (now.waiting + (0.5 if now.running_sec else 0.0))
