"""GPUs: what NVIDIA's driver tells of them, and whether PyTorch, where it is installed, can use them."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

from edge_client.doctor.aside import aside
from edge_client.doctor.finding import Finding, fault, ok, skipped, warning

ABOUT = "GPU"
GIBIBYTE = 1 << 30
NONE_NEEDED = "none: the device's models run on the processor, and need no other"
BARELY_BYTES = 6 * GIBIBYTE  # the weights of LFM2-Audio take half of it, and each slot some of the rest

type TorchSees = Callable[[], int | None]


async def look_at_gpus(*, nvml: Any = None, torch_sees: TorchSees | None = None) -> list[Finding]:
    """What there is. ``nvml`` stands in for the module `pynvml`; ``torch_sees`` counts, and is None to leave it out."""
    return await aside(lambda: _found(nvml or importlib.import_module("pynvml"), torch_sees))


def _found(nvml: Any, torch_sees: TorchSees | None) -> list[Finding]:
    try:
        nvml.nvmlInit()
        driver, count = _text(nvml.nvmlSystemGetDriverVersion()), nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        return [_without_driver(nvml, error)]
    if not count:
        return [ok(ABOUT, NONE_NEEDED)]
    seen = torch_sees() if torch_sees else None
    return [*(_gpu(nvml, index, driver) for index in range(count)), *_torch(count, seen)]


def _without_driver(nvml: Any, error: Exception) -> Finding:
    """No library is no driver, which most machines have none of; a driver that fails is a fault."""
    missing = getattr(nvml, "NVMLError_LibraryNotFound", ())
    unloaded = getattr(nvml, "NVMLError_DriverNotLoaded", ())
    if isinstance(error, missing) or "Not Found" in str(error):
        return ok(ABOUT, NONE_NEEDED)
    advice = "Load it (modprobe nvidia), or hand the GPU to this container (nvidia-container-toolkit)."
    if not isinstance(error, unloaded):
        advice = "The kernel's part of the driver and its library do not fit: restart the machine after updates."
    return fault(ABOUT, str(error), expected="a driver that answers", advice=advice)


def _gpu(nvml: Any, index: int, driver: str) -> Finding:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        name, memory = _text(nvml.nvmlDeviceGetName(handle)), nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError as error:
        advice = "It may have fallen off the bus: `nvidia-smi` and `dmesg` tell more."
        return fault(f"{ABOUT} {index}", str(error), expected="one that tells of itself", advice=advice)
    told = f"{name}, {memory.free / GIBIBYTE:.1f} of {memory.total / GIBIBYTE:.1f} GiB free, driver {driver}"
    if memory.free >= BARELY_BYTES:
        return ok(f"{ABOUT} {index}", told)
    return warning(
        f"{ABOUT} {index}",
        told,
        expected=f"{BARELY_BYTES / GIBIBYTE:.0f} GiB free, if the speech model is to run on it",
        advice="End what else is on it (nvidia-smi shows that), or take a larger one.",
    )


def _torch(count: int, seen: int | None) -> Iterator[Finding]:
    if seen is None:
        yield skipped("PyTorch", "not looked at, or not installed")
    elif seen < count:
        yield fault(
            "PyTorch",
            f"{seen} of {count} GPUs",
            expected="that it can use the GPUs",
            advice="Update the driver, or see whether CUDA_VISIBLE_DEVICES hides them.",
        )
    else:
        yield ok("PyTorch", f"it can use {seen} GPUs")


def cuda_devices() -> int | None:
    """How many PyTorch can use; None where it is not installed. Takes seconds the first time."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _text(told: str | bytes) -> str:
    """Older versions of the library tell bytes."""
    return told.decode(errors="replace") if isinstance(told, bytes) else told
