"""The machine while it was measured: figures mean little without it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from deployments.engine.bench.bandwidth import read_gigabytes_per_sec


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Where and with what a run was made."""

    device: str  # the name of the processor, or of the GPU
    cores: int
    threads: int  # of torch
    torch_version: str
    load_average: tuple[float, ...]  # over 1, 5 and 15 minutes; empty where the system tells none
    read_gigabytes_per_sec: float  # how fast the device reads its memory, as measured

    def __str__(self) -> str:
        load = " / ".join(f"{value:.2f}" for value in self.load_average) or "unknown"
        return (
            f"{self.device}, {self.cores} cores, {self.threads} threads, torch {self.torch_version}, "
            f"memory read at {self.read_gigabytes_per_sec:.1f} GB/s, load average {load}"
        )


def conditions(device: torch.device) -> Conditions:
    """The conditions at this moment."""
    return Conditions(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        torch_version=torch.__version__,
        load_average=os.getloadavg() if hasattr(os, "getloadavg") else (),
        read_gigabytes_per_sec=read_gigabytes_per_sec(device),
    )


def processor_name() -> str:
    """As the system names it. Elsewhere than on Linux it may be the architecture only."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
