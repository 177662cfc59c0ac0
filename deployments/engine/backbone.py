"""The language model: short convolutions and attention by turns, one step at a time for a batch of slots.

Written from the description of LFM2 (Liquid AI 2025): layers of a gated short convolution or of grouped-query
attention, each followed by SwiGLU, all behind RMSNorm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from deployments.engine.layers import FeedForward, Heads, Projection, RootMeanSquareNorm, Tensors, within
from deployments.engine.shape import ModelShape
from deployments.engine.speech_state import SpeechState


class Convolutions(NamedTuple):
    """The short convolutions of all layers: ``taps`` [conv layers, kernel, hidden], ``bias`` [conv layers, hidden]."""

    taps: Tensor
    bias: Tensor | None


class Step(ABC):
    """One step of a batch through all layers: B rows of C positions each, N = B * C.

    It holds what the layers share, and gathers what the convolutions are to remember until ``finish``, so that a step
    that fails before its end leaves nothing behind that a second try would feel: keys and values it writes again.
    """

    def __init__(
        self, state: SpeechState, rows: Tensor, positions: Tensor, *, written: Tensor, context: int, group: int
    ) -> None:
        """``positions`` [B, C] of the new inputs; the rows ``written`` [B, C] are those that keep their keys."""
        self.rotations = state.rotations.index_select(0, positions.reshape(-1)).unsqueeze(1)
        self._state = state
        self._rows = rows
        self._context = context
        self._batch, self._length = positions.shape
        self._mask = self._causal_mask(positions, group)
        self._places = self._cache_places(written, positions)

    def _causal_mask(self, positions: Tensor, group: int) -> Tensor:
        """[B, 1, C * group, context]: 0 where a position may look, minus infinity elsewhere."""
        later = torch.arange(self._context, device=positions.device) > positions[:, None, :, None, None]
        mask = torch.zeros(later.shape, dtype=self._state.inputs.dtype, device=positions.device)
        mask = mask.masked_fill_(later, float("-inf")).expand(-1, -1, -1, group, -1)
        return mask.reshape(self._batch, 1, -1, self._context)

    def _cache_places(self, written: Tensor, positions: Tensor) -> Tensor:
        """Where keys and values go: rows of a layer's cache, seen as [2 * slots * kv_heads * positions, head_dim]."""
        kv_heads, length = self._state.keys_values.shape[3:5]
        first = torch.add(positions, written, alpha=kv_heads * length)
        return (first.view(1, -1, 1) + self._state.places).view(-1)

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Store keys and values [N, kv_heads, head_dim]; let queries [N, heads, head_dim] look: [N, heads * head_dim].

        Queries that share a key are told to the attention as further positions, so that no key is repeated for them.
        """
        kv_heads, head_dim = keys.shape[1:]
        cache = self._state.keys_values[layer]
        cache.view(-1, head_dim).index_copy_(0, self._places, torch.stack((keys, values)).view(-1, head_dim))
        all_keys, all_values = cache[:, :, :, : self._context].index_select(1, self._rows).unbind(0)
        grouped = queries.reshape(self._batch, self._length, kv_heads, -1, head_dim).transpose(1, 2)
        seen = functional.scaled_dot_product_attention(
            grouped.reshape(self._batch, kv_heads, -1, head_dim), all_keys, all_values, attn_mask=self._mask
        )
        return seen.view(grouped.shape).transpose(1, 2).reshape(self._batch * self._length, -1)

    @abstractmethod
    def convolve(self, layer: int, signal: Tensor) -> Tensor:
        """The convolution of ``signal`` [N, hidden] after what the slots remember, as [N, hidden]."""

    @abstractmethod
    def finish(self) -> None:
        """Write what the convolutions are to remember. The last operation of a step."""


class DecodeStep(Step):
    """One position for each row: what the past adds to it is computed for all layers at once."""

    def __init__(
        self,
        state: SpeechState,
        rows: Tensor,
        positions: Tensor,
        convolutions: Convolutions,
        *,
        context: int,
        group: int,
    ) -> None:
        super().__init__(state, rows, positions[:, None], written=rows[:, None], context=context, group=group)
        self._signals: list[Tensor] = []
        self._taps, bias = convolutions
        self._memory = state.conv.index_select(1, rows)
        past = (self._memory * self._taps[:, None, :-1]).sum(2)
        self._past = past if bias is None else past + bias[:, None]

    def convolve(self, layer: int, signal: Tensor) -> Tensor:
        self._signals.append(signal)
        return torch.addcmul(self._past[layer], signal, self._taps[layer, -1])

    def finish(self) -> None:
        if self._signals:
            newest = torch.stack(self._signals).unsqueeze(2)
            self._state.conv.index_copy_(1, self._rows, torch.cat((self._memory[:, :, 1:], newest), dim=2))


class PrefillStep(Step):
    """Positions ``starts`` [B] and on; those beyond ``lengths`` [B] are padding, whose keys go to the spare row."""

    def __init__(
        self,
        state: SpeechState,
        rows: Tensor,
        starts: Tensor,
        lengths: Tensor,
        convolutions: Convolutions,
        *,
        length: int,
        context: int,
        group: int,
    ) -> None:
        offsets = torch.arange(length, device=rows.device)
        padding = offsets >= lengths[:, None]
        positions = (starts[:, None] + offsets).masked_fill(padding, 0)
        written = rows[:, None].expand_as(padding).masked_fill(padding, state.spare)
        super().__init__(state, rows, positions, written=written, context=context, group=group)
        self._remembered: list[Tensor] = []
        self._taps, self._bias = convolutions
        self._memory = state.conv.index_select(1, rows)
        kept = self._memory.shape[2]
        firsts = lengths + torch.arange(self._batch, device=rows.device) * (length + kept)
        self._last_signals = (firsts[:, None] + torch.arange(kept, device=rows.device)).view(-1)

    def convolve(self, layer: int, signal: Tensor) -> Tensor:
        past = self._memory[layer]
        window = torch.cat((past, signal.view(self._batch, self._length, -1)), dim=1)
        self._remembered.append(window.view(-1, signal.shape[1]).index_select(0, self._last_signals).view(past.shape))
        summed = window[:, : self._length] * self._taps[layer, 0]
        for delay in range(1, self._taps.shape[1]):
            summed = torch.addcmul(summed, window[:, delay : delay + self._length], self._taps[layer, delay])
        return (summed if self._bias is None else summed + self._bias[layer]).view(signal.shape)

    def finish(self) -> None:
        if self._remembered:
            self._state.conv.index_copy_(1, self._rows, torch.stack(self._remembered))


class Attention(nn.Module):
    """Grouped-query attention (Ainslie et al. 2023) over what a slot has seen."""

    def __init__(self, tensors: Tensors, shape: ModelShape, index: int) -> None:
        super().__init__()
        head_dim = shape.head_dim
        query, key = (_in_pairs(tensors[f"{name}_proj.weight"], head_dim) for name in "qk")
        query_norm, key_norm = (_in_pairs(tensors[f"{name}_layernorm.weight"], head_dim) for name in "qk")
        weight = torch.cat((query, key, tensors["v_proj.weight"]))
        self.heads = Heads(weight, query_norm, key_norm, heads=shape.heads, eps=shape.norm_eps)
        self.out = Projection(tensors["out_proj.weight"])
        self._index = index

    def onto(self, residual: Tensor, x: Tensor, step: Step) -> Tensor:
        turned, values = self.heads.forward(x, step.rotations)
        queries, keys = self.heads.queries_and_keys(turned.to(x.dtype))
        return self.out.onto(residual, step.attend(self._index, queries, keys, values))


class ShortConvolution(nn.Module):
    """A convolution over the last few positions, gated before and after."""

    def __init__(self, tensors: Tensors, index: int) -> None:
        super().__init__()
        self.inward = Projection(tensors["in_proj.weight"], tensors.get("in_proj.bias"))
        self.out = Projection(tensors["out_proj.weight"], tensors.get("out_proj.bias"))
        self._index = index

    def onto(self, residual: Tensor, x: Tensor, step: Step) -> Tensor:
        gate_in, gate_out, signal = self.inward.forward(x).chunk(3, dim=-1)
        return self.out.onto(residual, gate_out * step.convolve(self._index, gate_in * signal))


class Layer(nn.Module):
    """Attention or convolution, and what follows both."""

    def __init__(self, operator: Attention | ShortConvolution, tensors: Tensors, eps: float) -> None:
        super().__init__()
        self.operator = operator
        self.operator_norm = RootMeanSquareNorm(tensors["operator_norm.weight"], eps)
        self.feed_forward = FeedForward(within(tensors, "feed_forward."))
        self.feed_forward_norm = RootMeanSquareNorm(tensors["ffn_norm.weight"], eps)

    def forward(self, x: Tensor, step: Step) -> Tensor:
        x = self.operator.onto(x, self.operator_norm(x), step)
        return self.feed_forward.onto(x, self.feed_forward_norm(x))


class Backbone(nn.Module):
    """All layers and the last norm. ``tensors_of(prefix)`` gives the tensors of that prefix, named without it.

    They are asked for layer by layer, so that little more than one layer is in memory twice.
    """

    def __init__(self, tensors_of: Callable[[str], Tensors], shape: ModelShape) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self._group = shape.heads // shape.kv_heads
        taps: list[Tensor] = []
        biases: list[Tensor] = []
        for number, kind in enumerate(shape.layers):
            tensors = tensors_of(f"layers.{number}.")
            self.layers.append(Layer(_operator(tensors, shape, number), tensors, shape.norm_eps))
            if kind == "conv":
                taps.append(tensors["conv.conv.weight"].squeeze(1).t())
                biases += [tensors["conv.conv.bias"]] if shape.conv_bias else []
        self.norm = RootMeanSquareNorm(tensors_of("embedding_norm.")["weight"], shape.norm_eps)
        self.taps = nn.Buffer(_stacked(taps, (shape.conv_kernel, shape.hidden), self.norm.weight), persistent=False)
        self.bias = nn.Buffer(torch.stack(biases), persistent=False) if biases else None

    def decode(self, state: SpeechState, rows: Tensor, positions: Tensor, *, context: int) -> Tensor:
        convolutions = Convolutions(self.taps, self.bias)
        step = DecodeStep(state, rows, positions, convolutions, context=context, group=self._group)
        hidden: Tensor = self.norm(self._through_layers(state.inputs.index_select(0, rows), step))
        step.finish()
        return hidden

    def prefill(
        self, state: SpeechState, embeddings: Tensor, rows: Tensor, starts: Tensor, lengths: Tensor, *, context: int
    ) -> Tensor:
        batch, length, width = embeddings.shape
        convolutions = Convolutions(self.taps, self.bias)
        step = PrefillStep(
            state, rows, starts, lengths, convolutions, length=length, context=context, group=self._group
        )
        outputs = self._through_layers(embeddings.reshape(-1, width), step)
        last = torch.arange(batch, device=rows.device) * length + (lengths - 1).clamp(min=0)
        hidden: Tensor = self.norm(outputs.index_select(0, last))
        step.finish()
        return hidden

    def _through_layers(self, x: Tensor, step: Step) -> Tensor:
        for layer in self.layers:
            x = layer(x, step)
        return x


def _operator(tensors: Tensors, shape: ModelShape, number: int) -> Attention | ShortConvolution:
    kind = shape.layers[number]
    index = shape.layers[:number].count(kind)
    if kind == "attention":
        return Attention(within(tensors, "self_attn."), shape, index)
    return ShortConvolution(within(tensors, "conv."), index)


def _stacked(tensors: list[Tensor], size: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.stack(tensors) if tensors else like.new_empty((0, *size))


def _in_pairs(weight: Tensor, head_dim: int) -> Tensor:
    """Rows of heads whose pairs are (i, i + head_dim / 2), reordered so that the two of a pair are neighbours."""
    halves = weight.view(-1, 2, head_dim // 2, *weight.shape[1:])
    return halves.transpose(1, 2).reshape(weight.shape)
