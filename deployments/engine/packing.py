"""Weights in the order in which a CPU's fastest products read them: two to three times as fast for a batch of rows.

oneDNN, which comes with torch, chooses the order. Packed weights are in a layout of their own, which can be neither
quantised nor compiled: pack last, and where steps are compiled not at all.
"""

from __future__ import annotations

import platform
from typing import Any

import torch
from torch import Tensor, nn

from deployments.engine.layers import Projection
from deployments.engine.quantisation import places

ARCHITECTURES = ("x86_64", "AMD64")

# Torch has no public names for them, and some builds lack them. A weight [out, in] and the number of rows, if it is
# known, to a packed weight;
pack_weight: Any = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None)
# rows [N, in], weight, bias and what shall follow to [N, out]; its overload ``binary`` takes a second operand in.
packed_product: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
packs_bfloat16: Any = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
HAS_ONEDNN = pack_weight is not None and platform.machine() in ARCHITECTURES


class PackedProjection(nn.Module):
    """A projection around a packed weight, which is neither parameter nor buffer: it has no storage to tell of."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self._weight: Tensor = pack_weight(weight.contiguous(), None)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Rows [N, in] to [N, out]."""
        product: Tensor = packed_product(x, self._weight, self.bias, "none", [], "")
        return product

    def onto(self, residual: Tensor, x: Tensor) -> Tensor:
        """``residual`` + the projection of ``x``, in one operation."""
        total: Tensor = packed_product.binary(x, residual, self._weight, self.bias, "add")
        return total


def pack(part: nn.Module) -> None:
    """Replace the plain projections of a model, in place and one at a time. Does nothing where it is not offered.

    Embeddings that serve as a head too are then in memory twice.
    """
    for parent, name, projection in places(part):
        if is_offered(projection):
            setattr(parent, name, PackedProjection(projection.weight, projection.bias))


def is_offered(projection: Projection) -> bool:
    weight = projection.weight
    if weight.device.type != "cpu" or type(weight) is not nn.Parameter or not HAS_ONEDNN:
        return False
    return weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and bool(packs_bfloat16()))
