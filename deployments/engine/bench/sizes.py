"""How much memory a model takes, known before it is built."""

from __future__ import annotations

from deployments.engine.bench.memory_peak import available_bytes
from deployments.engine.random_checkpoint import CODES, Preset

CODEBOOKS = 8
FLOAT32_BYTES = 4
PROCESS_BYTES = 10**9  # that torch and its company take with them
MARGIN = 1.3  # what is copied while it is built and loaded, and the states


def weight_count(preset: Preset) -> int:
    """About how many numbers the weights of a model of this size are."""
    hidden, depth = preset.hidden, preset.depth_width
    backbone = preset.layers * (2 * preset.block_ff * hidden + 4 * hidden**2)
    embeddings = hidden * (preset.vocabulary + 2 * CODEBOOKS * (CODES + 1))
    depthformer = preset.depth_layers * 11 * depth**2 + CODEBOOKS * depth * (hidden + CODES + 1)
    encoder = preset.encoder_layers * 22 * preset.encoder_width**2 + 2 * hidden**2
    return backbone + embeddings + depthformer + encoder


def needed_bytes(preset: Preset, itemsize: int) -> int:
    """Of memory, for stock's model, which is loaded in float32 and then made smaller, and ours beside it."""
    return PROCESS_BYTES + int(MARGIN * weight_count(preset) * (FLOAT32_BYTES + itemsize))


def lack(preset: Preset, itemsize: int) -> str | None:
    """Why a model of this size cannot be measured here; None where it can, or where the system does not tell."""
    needed, available = needed_bytes(preset, itemsize), available_bytes()
    if available is None or needed <= available:
        return None
    return f"needs about {needed / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are free"
