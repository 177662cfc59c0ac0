"""What the model remembers of every session: keys and values, the last inputs of the convolutions, the next input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deployments.engine.layers import rotations
from deployments.engine.shape import ModelShape


@dataclass(frozen=True, slots=True, eq=False)
class SpeechState:
    """One row for each slot, and one more at index ``spare`` that the padding of a batch writes to.

    ``keys_values`` [attention layers, 2, slots + 1, kv_heads, positions, head_dim]; ``conv`` and ``saved_conv``
    [conv layers, slots + 1, kernel - 1, hidden]; ``inputs`` [slots + 1, hidden], the embedding that each slot's next
    step begins with. Two constants: ``rotations`` [positions, head_dim / 2], how far keys are turned at a position, and
    ``places`` [2, 1, kv_heads], where the heads of keys and of values begin within a layer of ``keys_values``.
    """

    keys_values: Tensor
    conv: Tensor
    saved_conv: Tensor
    inputs: Tensor
    rotations: Tensor
    places: Tensor

    @property
    def spare(self) -> int:
        return self.inputs.shape[0] - 1

    @property
    def positions(self) -> int:
        return self.keys_values.shape[4]

    def save(self, rows: Tensor) -> None:
        """Remember the convolutions of ``rows`` [B] int64: unlike keys and values they cannot be rewound."""
        self.saved_conv.index_copy_(1, rows, self.conv.index_select(1, rows))

    def restore(self, rows: Tensor) -> None:
        """Bring the convolutions of ``rows`` back to where they were saved."""
        self.conv.index_copy_(1, rows, self.saved_conv.index_select(1, rows))

    def erase(self, rows: Tensor) -> None:
        """Make ``rows`` as new. Keys too: what is not a number would be felt even where it is masked."""
        self.keys_values.index_fill_(2, rows, 0)
        for tensor, dim in ((self.conv, 1), (self.saved_conv, 1), (self.inputs, 0)):
            tensor.index_fill_(dim, rows, 0)


def new_state(
    shape: ModelShape, slots: int, positions: int, *, device: torch.device, dtype: torch.dtype
) -> SpeechState:
    attention_layers = shape.layers.count("attention")
    conv_layers = len(shape.layers) - attention_layers
    rows = slots + 1
    cache = (attention_layers, 2, rows, shape.kv_heads, positions, shape.head_dim)
    conv = (conv_layers, rows, shape.conv_kernel - 1, shape.hidden)
    heads = torch.arange(2 * rows * shape.kv_heads, device=device).view(2, rows, shape.kv_heads)
    return SpeechState(
        keys_values=torch.zeros(cache, device=device, dtype=dtype),
        conv=torch.zeros(conv, device=device, dtype=dtype),
        saved_conv=torch.zeros(conv, device=device, dtype=dtype),
        inputs=torch.zeros((rows, shape.hidden), device=device, dtype=dtype),
        rotations=rotations(positions, shape.head_dim, shape.rope_theta, device),
        places=heads[:, :1] * positions,
    )
