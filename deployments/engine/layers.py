"""What the backbone and the depthformer are built from.

Everything here works on rows: [N, width], where N counts the positions of all sequences of a step.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

type Tensors = Mapping[str, Tensor]


class Projection(nn.Linear):
    """A linear layer around a given weight [out, in], which may be asked to add its result to something."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        out_features, in_features = weight.shape
        super().__init__(in_features, out_features, bias=False, device="meta")
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias, requires_grad=False))
        self._has_bias = bias is not None

    def onto(self, residual: Tensor, x: Tensor) -> Tensor:
        """``residual`` + the projection of ``x``, in one operation where the weight is a plain tensor."""
        if self._has_bias or type(self.weight) is not nn.Parameter:
            return residual + self.forward(x)
        return torch.addmm(residual, x, self.weight.t())


class RootMeanSquareNorm(nn.Module):
    """RMSNorm (Zhang and Sennrich 2019). Computed in float32, rounded once."""

    def __init__(self, weight: Tensor, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self._eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.weight.shape, self.weight, self._eps)


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020), its two upward projections in one."""

    def __init__(self, tensors: Tensors) -> None:
        super().__init__()
        self.up = Projection(torch.cat((tensors["w1.weight"], tensors["w3.weight"])))
        self.down = Projection(tensors["w2.weight"])

    def onto(self, residual: Tensor, x: Tensor) -> Tensor:
        gate, value = self.up.forward(x).chunk(2, dim=-1)
        return self.down.onto(residual, functional.silu(gate) * value)


class Heads(nn.Module):
    """Queries, keys and values of a layer: one projection, one norm and one rotation for all heads together.

    ``weight`` is [(heads + 2 * kv_heads) * head_dim, width], queries first; the elements of a head come in the pairs
    that are rotated (RoFormer, Su et al. 2021). Norm and rotation are computed in float32.
    """

    def __init__(self, weight: Tensor, query_norm: Tensor, key_norm: Tensor, *, heads: int, eps: float) -> None:
        super().__init__()
        self.head_dim = len(query_norm)
        self.heads = heads
        self.kv_heads = (len(weight) // self.head_dim - heads) // 2
        self.projection = Projection(weight)
        norms = torch.cat((query_norm.expand(heads, -1), key_norm.expand(self.kv_heads, -1)))
        self.norms = nn.Buffer(norms.float(), persistent=False)
        self._eps = eps

    def forward(self, x: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [N, width], complex ``rotations`` broadcastable to [N, 1, head_dim / 2].

        Returns queries and keys, rotated, float32 [N, heads + kv_heads, head_dim]; and values [N, kv_heads, head_dim].
        """
        rotated = self.heads + self.kv_heads
        projected = self.projection.forward(x).view(-1, rotated + self.kv_heads, self.head_dim)
        normed = functional.rms_norm(projected[:, :rotated].float(), (self.head_dim,), None, self._eps) * self.norms
        pairs = torch.view_as_complex(normed.view(-1, rotated, self.head_dim // 2, 2))
        return torch.view_as_real(pairs * rotations).view(-1, rotated, self.head_dim), projected[:, rotated:]

    def queries_and_keys(self, turned: Tensor) -> tuple[Tensor, Tensor]:
        """[N, heads, head_dim] and [N, kv_heads, head_dim]."""
        return turned[:, : self.heads], turned[:, self.heads :]


def rotations(positions: int, head_dim: int, theta: float, device: torch.device) -> Tensor:
    """How far each pair of a head is turned at each position: complex64 [positions, head_dim / 2]."""
    frequencies = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim)
    angles = torch.arange(positions, dtype=torch.float32, device=device).outer(frequencies)
    return torch.polar(torch.ones_like(angles), angles)


def within(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
