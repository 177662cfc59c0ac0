"""The small transformer that says the codes of one frame, each in the knowledge of those before it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from deployments.engine.layers import (
    FeedForward,
    Heads,
    Projection,
    RootMeanSquareNorm,
    Tensors,
    rotations,
    within,
)
from deployments.engine.sampling import Sampler, where_finite

# The checkpoint does not say these two.
NORM_EPS = 1e-5
ROPE_THETA = 1_000_000.0


class DepthLayer(nn.Module):
    """Attention over the codes so far, and what follows."""

    def __init__(self, tensors: Tensors) -> None:
        super().__init__()
        norms = within(tensors, "operator.bounded_attention.")
        query_norm, key_norm = norms["q_layernorm.weight"], norms["k_layernorm.weight"]
        out = tensors["operator.out_proj.weight"]
        heads = out.shape[1] // len(query_norm)
        self.heads = Heads(tensors["operator.qkv_proj.weight"], query_norm, key_norm, heads=heads, eps=NORM_EPS)
        self.out = Projection(out)
        self.operator_norm = RootMeanSquareNorm(tensors["operator_norm.weight"], NORM_EPS)
        self.feed_forward = FeedForward(within(tensors, "feed_forward."))
        self.feed_forward_norm = RootMeanSquareNorm(tensors["ffn_norm.weight"], NORM_EPS)

    def forward(self, x: Tensor, rotation: Tensor, cache: Tensor, place: int) -> Tensor:
        """``x`` [B, width] at this place of the frame; ``cache`` float32 [codebooks, 2, B, kv_heads, head_dim]."""
        x = self.out.onto(x, self._attend(*self.heads.forward(self.operator_norm(x), rotation), cache, place))
        return self.feed_forward.onto(x, self.feed_forward_norm(x))

    def _attend(self, turned: Tensor, values: Tensor, cache: Tensor, place: int) -> Tensor:
        """What the heads say, [B, heads * head_dim]. The first place has but itself to look at, and says its value."""
        queries, keys = self.heads.queries_and_keys(turned)
        torch.stack((keys, values), out=cache[place])
        all_keys, all_values = cache[: place + 1].permute(1, 2, 3, 0, 4).unbind(0)
        queries = queries.reshape(*values.shape[:2], -1, values.shape[2])
        if place:
            seen = functional.scaled_dot_product_attention(queries, all_keys, all_values)
        else:
            seen = all_values.expand_as(queries)
        return seen.reshape(len(values), -1).to(values.dtype)


class Depthformer(nn.Module):
    """From one position of the backbone to one frame of codes.

    ``tensors_of(prefix)`` gives the tensors of that prefix, named without it: those of ``depthformer``,
    ``depth_linear`` and ``depth_embeddings``.
    """

    def __init__(self, tensors_of: Callable[[str], Tensors], *, layers: int, codebooks: int) -> None:
        super().__init__()
        linear = tensors_of("depth_linear.")
        self.inward = Projection(linear["weight"], linear["bias"])
        stack = [DepthLayer(tensors_of(f"depthformer.layers.{n}.")) for n in range(layers)]
        self.layers = nn.ModuleList(stack)
        codes = [tensors_of(f"depth_embeddings.{n}.") for n in range(codebooks)]
        self.norms = nn.ModuleList(RootMeanSquareNorm(code["embedding_norm.weight"], NORM_EPS) for code in codes)
        self.embeddings = nn.ParameterList(_frozen(code["embedding.weight"]) for code in codes)
        self.logits = nn.ModuleList(Projection(_head(code)) for code in codes)
        heads = stack[0].heads
        table = rotations(codebooks, heads.head_dim, ROPE_THETA, linear["weight"].device)
        self.rotations = nn.Buffer(table, persistent=False)
        self._cache_shape = (heads.kv_heads, heads.head_dim)

    def forward(self, hidden: Tensor, sampler: Sampler) -> Tensor:
        """``hidden`` [B, width of the backbone] to codes int64 [B, codebooks], the first -1 where not finite."""
        batch = len(hidden)
        inputs = self.inward.forward(hidden).view(batch, len(self.logits), -1)
        shape = (len(self.layers), len(self.logits), 2, batch, *self._cache_shape)
        cache = torch.empty(shape, dtype=torch.float32, device=hidden.device)
        caches = cache.unbind(0)
        x = inputs[:, 0]
        codes: list[Tensor] = []
        witnesses: list[Tensor] = []
        for place in range(len(self.logits)):
            if place:
                x = inputs[:, place] + functional.embedding(codes[-1], self.embeddings[place - 1])
            code, witness = sampler.draw(self._logits(x, caches, place), place)
            codes.append(code)
            witnesses.append(witness)
        return torch.stack((where_finite(codes[0], torch.stack(witnesses).sum(0)), *codes[1:]), dim=1)

    def _logits(self, x: Tensor, caches: tuple[Tensor, ...], place: int) -> Tensor:
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, self.rotations[place], cache, place)
        logits: Tensor = self.logits[place](self.norms[place](x))
        return logits


def _frozen(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)


def _head(code: Tensors) -> Tensor:
    """The weights before the logits: those of the embedding where both are the same, so that they are kept once."""
    embedding = code["embedding.weight"]
    head = code.get("to_logits.weight", embedding)
    return embedding if torch.equal(head, embedding) else head
