"""GPUs that are there, full, hidden or broken; none is well, for none is needed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edge_client.doctor.finding import Finding
from edge_client.doctor.gpus import NONE_NEEDED, TorchSees, look_at_gpus

GIBIBYTE = 1 << 30


class NVMLError(Exception):
    """As the library's own."""


class ScriptedNvml:
    """The library, with GPUs of so many free bytes; None is one that tells nothing."""

    NVMLError = NVMLError

    def __init__(self, *free: float | None, broken: str | None = None) -> None:
        self._free = free
        self._broken = broken

    def nvmlInit(self) -> None:  # noqa: N802
        if self._broken:
            raise NVMLError(self._broken)

    def nvmlSystemGetDriverVersion(self) -> bytes:  # noqa: N802
        return b"580.95"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self._free)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return "NVIDIA L4"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        free = self._free[handle]
        if free is None:
            raise NVMLError("GPU is lost")
        return SimpleNamespace(free=free * GIBIBYTE, total=24 * GIBIBYTE)


async def look(nvml: ScriptedNvml, torch_sees: TorchSees | None = None) -> list[Finding]:
    return await look_at_gpus(nvml=nvml, torch_sees=torch_sees)


@pytest.mark.parametrize("nvml", [ScriptedNvml(), ScriptedNvml(broken="NVML Shared Library Not Found")])
async def test_none_is_well(nvml: ScriptedNvml) -> None:
    [found] = await look(nvml)
    assert (found.verdict, found.found) == ("ok", NONE_NEEDED)


async def test_each_is_told_with_its_memory_and_driver() -> None:
    gpu, torch = await look(ScriptedNvml(22.5), lambda: 1)
    assert (gpu.about, gpu.verdict) == ("GPU 0", "ok")
    assert gpu.found == "NVIDIA L4, 22.5 of 24.0 GiB free, driver 580.95"
    assert (torch.verdict, torch.found) == ("ok", "it can use 1 GPUs")


async def test_one_that_is_full_and_one_that_is_lost_are_told() -> None:
    full, lost, torch = await look(ScriptedNvml(1.0, None))
    assert (full.verdict, lost.verdict) == ("warning", "fault")
    assert (lost.about, lost.found) == ("GPU 1", "GPU is lost")
    assert torch.verdict == "skipped"


async def test_a_driver_that_does_not_answer_is_a_fault() -> None:
    [found] = await look(ScriptedNvml(broken="Driver/library version mismatch"))
    assert (found.verdict, found.found) == ("fault", "Driver/library version mismatch")
    assert "restart" in found.advice


async def test_gpus_that_pytorch_cannot_use_are_a_fault() -> None:
    _, torch = await look(ScriptedNvml(22.5), lambda: 0)
    assert (torch.verdict, torch.found) == ("fault", "0 of 1 GPUs")


async def test_this_machine_can_be_asked() -> None:
    assert await look_at_gpus()
