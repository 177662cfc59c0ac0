"""What a replica counts of its turns, its model and its process."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from deployments.model import Batching, Model, Stepping
from deployments.ray_instruments import LOOK_SEC, RayInstruments
from routing.own_tasks import own_tasks
from routing.telemetry import metrics, names
from routing.telemetry.attempt_record import AttemptFigures
from routing.telemetry.instruments import Reading
from routing.telemetry.phase import Attribute
from routing.telemetry.power import metering
from routing.telemetry.process import observe_process
from routing.telemetry.program import Telemetry

logger = logging.getLogger(__name__)

QUEUE: Final = "queue"  # in `ReplyEnd.timings_ms`: the time before a slot was free


class ReplicaFigures:
    """Counts while turns go on, and looks at the rest every few seconds. Opened by `replica_figures`."""

    def __init__(self, instruments: RayInstruments, model: Model, telemetry: Telemetry) -> None:
        self._instruments = instruments
        self._model = model
        self._load = model.load()
        self._sizes: Mapping[int, int] = {}
        self._times_ms: Mapping[int, int] = {}
        instruments.add(metrics.REFUSED, 0)
        instruments.observe(metrics.SLOTS, lambda: [Reading(self._load.slots)])
        instruments.observe(metrics.SLOTS_IN_USE, lambda: [Reading(self._load.in_use)])
        instruments.observe(metrics.DROPPED_SPANS, lambda: dropped(telemetry))
        observe_process(instruments)

    def take(self, figures: AttemptFigures) -> None:
        """An attempt is over."""
        model = {"model": figures.model}
        self._record(metrics.TIME_TO_FIRST_TOKEN, figures.first_sec, model)
        self._record(metrics.REQUEST_DURATION, figures.duration_sec, {**model, "outcome": figures.outcome})
        self._record(metrics.QUEUE_WAIT, queue_wait_sec(figures))

    def refuse(self) -> None:
        """A turn found no place."""
        self._instruments.add(metrics.REFUSED)

    def state(self) -> Mapping[str, Attribute]:
        """How busy the model is, as attributes of an attempt that is asked of it now."""
        load = self._model.load()
        return {names.SLOTS_IN_USE: load.in_use, names.SLOTS: load.slots, names.QUEUE_DEPTH: load.waiting}

    async def keep_looking(self) -> None:
        """Until cancelled. What is looked at may have to be read from files, so that is done on a thread."""
        while True:
            try:
                await self._look()
            except Exception:
                logger.exception("the figures of this replica are not to be had")  # which is no reason to end it
            await asyncio.sleep(LOOK_SEC)

    async def _look(self) -> None:
        self._load = self._model.load()
        self._count_batches()
        self._count_steps()
        await asyncio.to_thread(self._instruments.look)

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
async def replica_figures(model: Model, telemetry: Telemetry) -> AsyncIterator[ReplicaFigures]:
    """Figures of a replica that runs ``model``, shown by Ray's exporter; with the energy that this machine's meters
    tell, which every replica on it tells alike."""
    instruments = RayInstruments()
    async with metering(instruments), own_tasks() as tasks:
        figures = ReplicaFigures(instruments, model, telemetry)
        looking = tasks.create_task(figures.keep_looking())
        try:
            yield figures
        finally:
            looking.cancel()


def more(counts: Mapping[int, int], before: Mapping[int, int]) -> Iterator[int]:
    """What was counted since ``before``, each as often as it was."""
    return (Counter(counts) - Counter(before)).elements()


def queue_wait_sec(figures: AttemptFigures) -> float | None:
    """Until there was a slot: nothing at a model that gives one at once; None where it never came to that."""
    if QUEUE in figures.timings_ms:
        return figures.timings_ms[QUEUE] / 1000
    return 0.0 if figures.timings_ms else None


def dropped(telemetry: Telemetry) -> list[Reading]:
    """Spans that were lost, by what lost them."""
    statistics = telemetry.statistics()
    return [
        Reading(statistics.dropped_full, {"why": "full"}),
        Reading(statistics.dropped_failed, {"why": "failed"}),
    ]
