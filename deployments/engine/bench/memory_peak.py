"""The most memory that a piece of work had in use."""

from __future__ import annotations

import gc
import resource
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
CLEAR_PEAK = "5"  # what the kernel takes for: begin a new peak of resident memory
KILO = 1024


class MemoryPeak:
    """Around a piece of work; ``grown_bytes`` is then by how much the memory in use exceeded that at its beginning.

    On a GPU its own memory counts, else that of this process; where the system cannot begin a new peak, nothing grows
    but the highest since the process began.
    """

    def __init__(self) -> None:
        self.grown_bytes = 0
        self._before = 0

    def __enter__(self) -> Self:
        if on_gpu():
            torch.cuda.reset_peak_memory_stats()
        elif CLEAR.exists():
            CLEAR.write_text(CLEAR_PEAK)
        self._before = used_bytes()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        highest = torch.cuda.max_memory_allocated() if on_gpu() else _resident("VmHWM")
        self.grown_bytes = max(0, highest - self._before)


def on_gpu() -> bool:
    """Whether anything was done on a GPU by now."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def used_bytes() -> int:
    """Memory in use now: of the GPU where there is one, else of this process."""
    return torch.cuda.memory_allocated() if on_gpu() else _resident("VmRSS")


def own_bytes() -> int:
    """Memory of this process without the files it maps, which come and go; where the system does not tell, its peak."""
    return _resident("RssAnon")


def tensor_bytes() -> int:
    """Of all tensors that are alive, wherever they lie; what shares its storage counts once."""
    gc.collect()
    tensors = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor) and one.device.type != "meta"]
    return sum(dict(map(_storage, tensors)).values())


def _storage(tensor: torch.Tensor) -> tuple[int, int]:
    """Where its numbers are, and how many bytes they take. A layout of its own keeps the first to itself."""
    if tensor.layout is not torch.strided:
        return id(tensor), tensor.numel() * tensor.element_size()
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes()


def available_bytes() -> int | None:
    """Memory of the machine that can be had without swapping; None where the system does not tell."""
    return _kilobytes(Path("/proc/meminfo"), "MemAvailable")


def _resident(field: str) -> int:
    known = _kilobytes(STATUS, field)
    if known is not None:
        return known
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * KILO


def _kilobytes(file: Path, field: str) -> int | None:
    """The value of a line ``field: n kB``, in bytes."""
    lines = file.read_text().splitlines() if file.exists() else []
    values = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(values[0]) * KILO if values else None
