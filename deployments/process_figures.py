"""What each of the cloud's processes counts of itself, and how what is observed is looked at."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from deployments.ray_instruments import LOOK_SEC, RayInstruments
from routing.own_tasks import own_tasks
from routing.telemetry.instruments import Reading
from routing.telemetry.metrics import DROPPED_SPANS
from routing.telemetry.process import observe_process
from routing.telemetry.program import Telemetry

logger = logging.getLogger(__name__)


@asynccontextmanager
async def process_figures(
    instruments: RayInstruments, telemetry: Telemetry, *, before_look: Callable[[], None] = lambda: None
) -> AsyncIterator[None]:
    """Processor time, memory and lost spans of this process, and all else that is observed, until the block ends.

    Args:
        before_look: is called on the event loop, every few seconds
    """
    observe_process(instruments)
    instruments.observe(DROPPED_SPANS, lambda: dropped(telemetry))
    async with own_tasks() as tasks:
        looking = tasks.create_task(_keep_looking(instruments, before_look))
        try:
            yield
        finally:
            looking.cancel()


async def _keep_looking(instruments: RayInstruments, before_look: Callable[[], None]) -> None:
    """Until cancelled. What is looked at may have to be read from files, so that is done on a thread."""
    while True:
        try:
            before_look()
            await asyncio.to_thread(instruments.look)
        except Exception:
            logger.exception("the figures of this process are not to be had")  # which is no reason to end it
        await asyncio.sleep(LOOK_SEC)


def dropped(telemetry: Telemetry) -> list[Reading]:
    """Spans that were lost, by what lost them."""
    statistics = telemetry.statistics()
    return [
        Reading(statistics.dropped_full, {"why": "full"}),
        Reading(statistics.dropped_failed, {"why": "failed"}),
    ]
