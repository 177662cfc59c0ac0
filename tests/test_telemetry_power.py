"""Energy is what the meters show, across their wraps; where there is none, nothing is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from routing.telemetry.instruments import Reading
from routing.telemetry.power import PowerMeters, Tally, metering, rapl_meters
from tests.counted import Counted


class NVMLError(Exception):
    """As the library's own."""


class ScriptedNvml:
    """The library, with GPUs that show millijoules and percent; None is what one cannot tell."""

    NVMLError = NVMLError

    def __init__(self, *gpus: tuple[int | None, int | None], works: bool = True) -> None:
        self.gpus = list(gpus)
        self._works = works

    def nvmlInit(self) -> None:  # noqa: N802
        if not self._works:
            raise NVMLError("NVML Shared Library Not Found")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802
        return self._told(self.gpus[handle][0])

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=self._told(self.gpus[handle][1]), memory=0)

    def _told(self, shown: int | None) -> int:
        if shown is None:
            raise NVMLError("Not Supported")
        return shown


NO_GPU = ScriptedNvml(works=False)


def zone(powercap: Path, folder: str, name: str, microjoules: int | str, *, most: int = 1_000_000_000) -> Path:
    """A meter as the kernel shows it."""
    path = powercap / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    (path / "max_energy_range_uj").write_text(f"{most}\n")
    return path


def shown(readings: Iterable[Reading]) -> dict[str, float]:
    return {f"{each.labels['hw_id']} {each.labels.get('source', '')}".strip(): each.value for each in readings}


def test_energy_counts_from_the_first_look_and_power_between_two() -> None:
    tally = Tally()
    told = []
    for now, counter in ((0.0, 5000.0), (2.0, 5300.0), (4.0, None), (6.0, 5900.0), (7.0, 5950.0)):
        tally.look(counter, now)
        told.append((tally.joules, tally.watts))
    assert told == [(0, None), (300, 150), (300, None), (900, 150), (950, 50)]


def test_a_counter_may_wrap_or_begin_anew() -> None:
    wrapping, reset = Tally(wraps_at=1000.0), Tally()
    for now, counter in ((0.0, 900.0), (1.0, 50.0)):
        wrapping.look(counter, now)
        reset.look(counter, now)
    assert (wrapping.joules, wrapping.watts) == (150, 150)
    assert (reset.joules, reset.watts) == (0, 0)


def test_a_machine_without_meters_tells_nothing(tmp_path: Path) -> None:
    meters = PowerMeters(NO_GPU, tmp_path / "no such folder")
    meters.look(1.0)
    assert (meters.names, meters.energy(), meters.power(), meters.utilization()) == ([], [], [], [])


def test_gpus_are_told_as_far_as_they_can_tell(tmp_path: Path) -> None:
    nvml = ScriptedNvml((7_000_000, 30), (None, 90), (1000, None))
    meters = PowerMeters(nvml, tmp_path)
    meters.look(0.0)
    nvml.gpus = [(7_600_000, 50), (None, 80), (None, None)]  # the last one has fallen off the bus
    meters.look(2.0)
    assert shown(meters.energy()) == {"gpu0 nvml": 600, "gpu2 nvml": 0}
    assert shown(meters.power()) == {"gpu0 nvml": 300}
    assert shown(meters.utilization()) == {"gpu0": 0.5, "gpu1": 0.8}


def test_processors_and_memory_are_counted_once(tmp_path: Path) -> None:
    zones = [
        zone(tmp_path, "intel-rapl:0", "package-0", 900_000_000),
        zone(tmp_path, "intel-rapl:0:0", "core", 500_000_000),  # part of the package
        zone(tmp_path, "intel-rapl:0:1", "dram", 100_000_000),
        zone(tmp_path, "intel-rapl:1", "psys", 2_000_000_000),  # the whole machine, by another meter
        zone(tmp_path, "intel-rapl-mmio:0", "package-0", 900_000_000),  # the same package again
    ]
    meters = PowerMeters(NO_GPU, tmp_path)
    meters.look(0.0)
    for path, microjoules in zip(zones, (100_000_000, 0, 110_000_000, 0, 0), strict=True):
        (path / "energy_uj").write_text(str(microjoules))
    meters.look(4.0)
    assert shown(meters.energy()) == {"package-0 rapl": 200, "package-0-dram rapl": 10}
    assert shown(meters.power()) == {"package-0 rapl": 50, "package-0-dram rapl": 2.5}


@pytest.mark.parametrize("microjoules", ["9" * 5000, "", "nonsense", "-1", "\xff"])
def test_what_is_no_number_is_no_meter(tmp_path: Path, microjoules: str) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", microjoules)
    assert list(rapl_meters(tmp_path)) == []


def test_a_meter_that_may_not_be_read_is_absent(tmp_path: Path) -> None:
    path = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    (path / "energy_uj").unlink()
    (path / "energy_uj").mkdir()  # for those who may read everything
    assert list(rapl_meters(tmp_path)) == []


async def test_meters_are_looked_at_now_and_then(tmp_path: Path) -> None:
    nvml, counted = ScriptedNvml((0, 10)), Counted.new()
    async with metering(counted.instruments, nvml=nvml, powercap=tmp_path, every_sec=0.001) as meters:
        nvml.gpus = [(5000, 60)]
        while shown(meters.energy()) != {"gpu0 nvml": 5}:
            await asyncio.sleep(0.001)
        samples = await asyncio.to_thread(counted.samples)
    assert samples['hw_energy_joules_total{hw_id="gpu0",source="nvml"}'] == 5
    assert samples['hw_gpu_utilization_ratio{hw_id="gpu0"}'] == 0.6
