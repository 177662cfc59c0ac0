"""What the machine's own meters tell of energy: NVIDIA's counters, and RAPL for processors and memory.

Where there is no meter, or where it may not be read, its figures are absent: nothing is estimated. Joules per turn are
the energy of a while divided by the turns of that while.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from routing.own_tasks import own_tasks
from routing.telemetry.instruments import Observer, Reading
from routing.telemetry.metrics import ENERGY, GPU_UTILIZATION, POWER

logger = logging.getLogger(__name__)

POWERCAP: Final = Path("/sys/class/powercap")
LOOK_SEC: Final = 5.0  # often enough to see every wrap: RAPL's counters take minutes for one
MICROJOULES: Final = 1e6
MOST_DIGITS: Final = 20

type Source = Literal["nvml", "rapl"]


class Meter(NamedTuple):
    """A counter of energy. ``read`` may take milliseconds, and gives joules, or None where they cannot be had now.

    Args:
        wraps_at: where the counter begins anew, in joules; 0 where it does not
    """

    hw_id: str
    source: Source
    read: Callable[[], float | None]
    wraps_at: float = 0.0


class Tally:
    """Energy since the first look at a counter that began long before. Time is passed in, in seconds."""

    def __init__(self, *, wraps_at: float = 0.0) -> None:
        self._wraps_at = wraps_at
        self._seen: tuple[float, float] | None = None
        self.joules = 0.0
        self.watts: float | None = None  # between the last two looks; None where one of them failed

    def look(self, counter: float | None, now: float) -> None:
        """The counter shows so many joules; None where it could not be read."""
        self.watts = None
        if counter is None:
            return
        if self._seen is not None:
            at, before = self._seen
            spent = self._spent(before, counter)
            self.joules += spent
            self.watts = spent / (now - at) if now > at else None
        self._seen = now, counter

    def _spent(self, before: float, counter: float) -> float:
        """One that goes back without having wrapped was begun anew by its driver: what it showed before is lost."""
        if counter >= before:
            return counter - before
        return max(counter + self._wraps_at - before, 0.0)


# -- NVIDIA ------------------------------------------------------------------------------------------------------------


class Gpu:
    """One GPU by NVIDIA's library ``nvml``. What a device, its driver or this machine cannot tell is None."""

    def __init__(self, nvml: Any, index: int) -> None:
        self._nvml = nvml
        self._index = index
        self.hw_id = f"gpu{index}"

    def joules(self) -> float | None:
        """Since the driver was loaded; from Volta on."""
        millijoules = self._ask(self._nvml.nvmlDeviceGetTotalEnergyConsumption)
        return None if millijoules is None else float(millijoules) / 1000

    def utilization(self) -> float | None:
        """The part of the last moment, up to a second, in which it worked."""
        rates = self._ask(self._nvml.nvmlDeviceGetUtilizationRates)
        return None if rates is None else float(rates.gpu) / 100

    def _ask(self, question: Callable[[object], Any]) -> Any:
        try:
            return question(self._nvml.nvmlDeviceGetHandleByIndex(self._index))
        except self._nvml.NVMLError:
            return None


def gpus(nvml: Any) -> list[Gpu]:
    """Those of this machine; none where there is no driver. ``nvml`` is the module `pynvml`."""
    try:
        nvml.nvmlInit()
        return [Gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError as error:
        logger.debug("no GPU: %s", error)
        return []


def gpu_meters(found: Iterable[Gpu]) -> Iterator[Meter]:
    """Of those that count their energy."""
    return (Meter(gpu.hw_id, "nvml", gpu.joules) for gpu in found if gpu.joules() is not None)


# -- RAPL --------------------------------------------------------------------------------------------------------------


def rapl_meters(powercap: Path) -> Iterator[Meter]:
    """Of the zones that may be read, one of each processor package and one of the memory at it.

    A package's zone holds its cores already. Other drivers (``intel-rapl-mmio``) show the same packages again.
    """
    for zone in sorted(powercap.glob("intel-rapl:*")):
        hw_id, limit = _hw_id(zone), _read_number(zone / "max_energy_range_uj")
        if hw_id and _read_number(zone / "energy_uj") is not None:
            yield Meter(hw_id, "rapl", partial(_joules, zone), (limit or 0) / MICROJOULES)


def _hw_id(zone: Path) -> str | None:
    name = _read(zone / "name")
    if name is not None and name.startswith("package-"):
        return name
    package = _read(zone.with_name(zone.name.rpartition(":")[0]) / "name")
    return f"{package}-dram" if name == "dram" and package else None


def _joules(zone: Path) -> float | None:
    microjoules = _read_number(zone / "energy_uj")
    return None if microjoules is None else microjoules / MICROJOULES


def _read_number(file: Path) -> int | None:
    """The kernel's are of 64 bits."""
    text = _read(file)
    return int(text) if text is not None and text.isdecimal() and len(text) <= MOST_DIGITS else None


def _read(file: Path) -> str | None:
    """Mostly only root may: from energy one can guess what others compute."""
    try:
        return file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


# -- all meters --------------------------------------------------------------------------------------------------------


class PowerMeters:
    """The meters of this machine, looked at now and then. Making it and `look` may take milliseconds: on a thread.

    Args:
        nvml: the module `pynvml`
        powercap: where the kernel shows RAPL
    """

    def __init__(self, nvml: Any, powercap: Path = POWERCAP) -> None:
        self._gpus = gpus(nvml)
        self._meters = [*gpu_meters(self._gpus), *rapl_meters(powercap)]
        self._tallies = [Tally(wraps_at=meter.wraps_at) for meter in self._meters]
        self._utilization: dict[str, float] = {}

    @property
    def names(self) -> list[str]:
        return [f"{meter.hw_id} ({meter.source})" for meter in self._meters]

    def look(self, now: float) -> None:
        """Read them all; ``now`` is in seconds of any clock that never goes back."""
        for meter, tally in zip(self._meters, self._tallies, strict=True):
            tally.look(meter.read(), now)
        shown = {gpu.hw_id: gpu.utilization() for gpu in self._gpus}
        self._utilization = {hw_id: part for hw_id, part in shown.items() if part is not None}

    def energy(self) -> list[Reading]:
        """Joules since the first look."""
        return [Reading(tally.joules, labels) for labels, tally in self._labelled()]

    def power(self) -> list[Reading]:
        """Watts between the last two looks, of those that were read in both."""
        return [Reading(tally.watts, labels) for labels, tally in self._labelled() if tally.watts is not None]

    def utilization(self) -> list[Reading]:
        return [Reading(part, {"hw_id": hw_id}) for hw_id, part in self._utilization.items()]

    def _labelled(self) -> Iterator[tuple[dict[str, str], Tally]]:
        for meter, tally in zip(self._meters, self._tallies, strict=True):
            yield {"hw_id": meter.hw_id, "source": meter.source}, tally


@asynccontextmanager
async def metering(
    instruments: Observer, *, nvml: Any = None, powercap: Path = POWERCAP, every_sec: float = LOOK_SEC
) -> AsyncIterator[PowerMeters]:
    """Have the meters of this machine counted until the block ends. One process of a machine is enough.

    Args:
        nvml: what stands in for the module `pynvml`
    """
    meters = await asyncio.to_thread(_open_meters, nvml, powercap)
    instruments.observe(ENERGY, meters.energy)
    instruments.observe(POWER, meters.power)
    instruments.observe(GPU_UTILIZATION, meters.utilization)
    async with own_tasks() as tasks:
        looking = tasks.create_task(_look_again(meters, every_sec))
        try:
            yield meters
        finally:
            looking.cancel()


def _open_meters(nvml: Any, powercap: Path) -> PowerMeters:
    meters = PowerMeters(nvml or importlib.import_module("pynvml"), powercap)
    meters.look(time.monotonic())
    logger.info("energy is measured by %s", ", ".join(meters.names) or "nothing: no meter of this machine can be read")
    return meters


async def _look_again(meters: PowerMeters, every_sec: float) -> None:
    while True:
        await asyncio.sleep(every_sec)
        await asyncio.to_thread(lambda: meters.look(time.monotonic()))
