"""The floor under a step: every weight is read at least once, and memory is read only so fast."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import NamedTuple

import torch

BACKBONE = re.compile(r"lfm\.layers\..*\.weight")
TEXT_HEAD = re.compile(r"lfm\.embed_tokens\.weight")
DEPTHFORMER = re.compile(r"depthformer\..*\.weight")  # read anew for each codebook of a frame
FRAME_ENDS = re.compile(r"depth_linear\.weight|depth_embeddings\.\d+\.to_logits\.weight")

PROBE_BYTES = 1 << 28  # far more than a cache holds
PROBE_RUNS = 5


class Floor(NamedTuple):
    """Of a text step and of an audio step, whoever shares it: bytes of weights, or seconds."""

    text: float
    audio: float


def floor_bytes(weights: Mapping[str, int], *, codebooks: int, itemsize: int) -> Floor:
    """Bytes of weights that a step reads.

    Args:
        weights: how many numbers each tensor of the checkpoint has, by its name there
        itemsize: bytes per number
    """

    def numbers(names: re.Pattern[str]) -> int:
        return sum(count for name, count in weights.items() if names.fullmatch(name))

    backbone = numbers(BACKBONE)
    frame = codebooks * numbers(DEPTHFORMER) + numbers(FRAME_ENDS)
    return Floor(text=(backbone + numbers(TEXT_HEAD)) * itemsize, audio=(backbone + frame) * itemsize)


def floor_sec(read: Floor, gigabytes_per_sec: float) -> Floor:
    return Floor(*(count / (gigabytes_per_sec * 1e9) for count in read))


def read_gigabytes_per_sec(device: torch.device) -> float:
    """How fast ``device`` reads its memory: the best of a few sums over a large tensor."""
    probe = torch.zeros(PROBE_BYTES // 4, device=device)
    return PROBE_BYTES / min(_summing_sec(probe) for _ in range(PROBE_RUNS)) / 1e9


def _summing_sec(probe: torch.Tensor) -> float:
    began = time.perf_counter()
    float(probe.sum())  # brings the number to the host: the clock waits for the device
    return time.perf_counter() - began
