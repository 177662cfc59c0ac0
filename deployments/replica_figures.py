"""What a replica counts of its turns and its model."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from deployments.model import Batching, Model, Stepping
from deployments.process_figures import process_figures
from deployments.ray_instruments import RayInstruments
from routing.telemetry import metrics, names
from routing.telemetry.attempt_record import AttemptFigures
from routing.telemetry.instruments import Reading
from routing.telemetry.phase import Attribute
from routing.telemetry.power import metering
from routing.telemetry.program import Telemetry

QUEUE: Final = "queue"  # in `ReplyEnd.timings_ms`: the time before a slot was free


class ReplicaFigures:
    """Counts while turns go on, and looks at the rest every few seconds. Opened by `replica_figures`."""

    def __init__(self, instruments: RayInstruments, model: Model, *, start_sec: float) -> None:
        self._instruments = instruments
        self._model = model
        self._load = model.load()
        self._sizes: Mapping[int, int] = {}
        self._times_ms: Mapping[int, int] = {}
        instruments.add(metrics.REFUSED, 0)
        instruments.observe(metrics.START_DURATION, lambda: [Reading(start_sec)])
        instruments.observe(metrics.SLOTS, lambda: [Reading(self._load.slots)])
        instruments.observe(metrics.SLOTS_IN_USE, lambda: [Reading(self._load.in_use)])

    def take(self, figures: AttemptFigures) -> None:
        """An attempt is over."""
        model = {"model": figures.model}
        self._record(metrics.TIME_TO_FIRST_TOKEN, figures.first_sec if figures.counted else None, model)
        self._record(metrics.REQUEST_DURATION, figures.duration_sec, {**model, "outcome": figures.outcome})
        self._record(metrics.QUEUE_WAIT, queue_wait_sec(figures))

    def refuse(self) -> None:
        """A turn found no place."""
        self._instruments.add(metrics.REFUSED)

    def state(self) -> Mapping[str, Attribute]:
        """How busy the model is, as attributes of an attempt that is asked of it now."""
        load = self._model.load()
        return {names.SLOTS_IN_USE: load.in_use, names.SLOTS: load.slots, names.QUEUE_DEPTH: load.waiting}

    def look(self) -> None:
        """Bring all that the model tells up to date."""
        self._load = self._model.load()
        self._count_batches()
        self._count_steps()

    def _count_batches(self) -> None:
        if not isinstance(self._model, Batching):
            return
        sizes = self._model.batch_sizes()
        for size in more(sizes, self._sizes):
            self._instruments.record(metrics.BATCH_SIZE, size)
        self._sizes = sizes

    def _count_steps(self) -> None:
        if not isinstance(self._model, Stepping):
            return
        times_ms = self._model.step_times_ms()
        for time_ms in more(times_ms, self._times_ms):
            self._instruments.record(metrics.TIME_PER_TOKEN, time_ms / 1000, {"model": self._model.backend.name})
        self._times_ms = times_ms

    def _record(self, metric: metrics.Metric, value: float | None, labels: Mapping[str, str] | None = None) -> None:
        if value is not None:
            self._instruments.record(metric, value, labels)


@asynccontextmanager
async def replica_figures(model: Model, telemetry: Telemetry, *, start_sec: float) -> AsyncIterator[ReplicaFigures]:
    """Figures of a replica that runs ``model``, shown by Ray's exporter; with the energy that this machine's meters
    tell, which every replica on it tells alike. ``start_sec`` is how long it took to be ready."""
    instruments = RayInstruments()
    figures = ReplicaFigures(instruments, model, start_sec=start_sec)
    async with metering(instruments), process_figures(instruments, telemetry, before_look=figures.look):
        yield figures


def more(counts: Mapping[int, int], before: Mapping[int, int]) -> Iterator[int]:
    """What was counted since ``before``, each as often as it was."""
    return (Counter(counts) - Counter(before)).elements()


def queue_wait_sec(figures: AttemptFigures) -> float | None:
    """Until there was a slot: nothing at a model that gives one at once; None where it never came to that."""
    if QUEUE in figures.timings_ms:
        return figures.timings_ms[QUEUE] / 1000
    return 0.0 if figures.timings_ms else None
