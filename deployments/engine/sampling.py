"""How the next token is chosen from logits, for a batch in which everybody has their own temperature, top-k and noise.

Nothing here asks the device for a value, so that it can be captured, and nobody's token depends on their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

# Multiplied by this power of two, the difference of any two logits is either nothing or everything; it rounds nothing.
_COLDEST = 2.0**100
# Of a row without chance: the first of the likeliest is the first whose share of the whole is more than this.
_NO_CHANCE = 1e-30


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """How each row of a batch chooses.

    ``temperature`` [B] float32, 0 for the likeliest; ``top_k`` [B] int64, 0 for all; ``noise`` [B, K] float32, uniform
    in (0, 1), a column for each token of a frame (or one column, for text). Known on the host: ``all_greedy``, no row
    has a temperature (the shorter way), and ``maximum_top_k``, no row's ``top_k`` is greater.
    """

    temperature: Tensor
    top_k: Tensor
    noise: Tensor
    all_greedy: bool
    maximum_top_k: int = 0


class Drawn(NamedTuple):
    """Tokens [B] int64, and for each a number [B] that is finite where its logits were fit to choose from."""

    tokens: Tensor
    witness: Tensor


class Sampler:
    """A choice made ready for several draws from logits of the same batch.

    Inverse transform sampling: the token is the first at which the summed probabilities reach the row's noise. Top-k
    takes out what is strictly below the k-th largest: who is level with it stays in.
    """

    def __init__(self, choice: Choice) -> None:
        self._all_greedy = choice.all_greedy
        if self._all_greedy:
            return
        greedy = (choice.temperature <= 0) | (choice.top_k == 1)
        self._coldness = torch.where(greedy, _COLDEST, 1.0 / choice.temperature)[:, None]
        self._noise = torch.where(greedy[:, None], _NO_CHANCE, choice.noise)
        self._maximum_top_k = choice.maximum_top_k
        if self._maximum_top_k:
            self._kth = (choice.top_k - 1).clamp(min=0)[:, None]
            self._unlimited = torch.where(choice.top_k == 0, float("-inf"), 0.0)[:, None]

    def draw(self, logits: Tensor, column: int = 0) -> Drawn:
        """Choose from ``logits`` [B, V] with the noise of this column."""
        if self._all_greedy:
            largest = logits.max(dim=-1)
            return Drawn(largest.indices, largest.values)
        scaled = logits * self._coldness
        if self._maximum_top_k:
            scaled = self._without_the_rest(scaled)
        reached = scaled.softmax(dim=-1).cumsum(dim=-1)
        whole = reached[:, -1:]
        places = torch.searchsorted(reached, self._noise[:, column : column + 1] * whole)
        return Drawn(places.clamp_(max=logits.shape[-1] - 1).squeeze(1), whole.squeeze(1))

    def _without_the_rest(self, scaled: Tensor) -> Tensor:
        count = min(self._maximum_top_k, scaled.shape[-1])
        kth = self._kth if count == self._maximum_top_k else self._kth.clamp(max=count - 1)
        least = scaled.topk(count, dim=-1).values.gather(1, kth) + self._unlimited
        return scaled.masked_fill_(scaled < least, float("-inf"))


def choose(logits: Tensor, choice: Choice) -> Tensor:
    """A token for each row of ``logits`` [B, V], as int64 [B]; -1 where NaN or infinity is among them."""
    drawn = Sampler(choice).draw(logits)
    return where_finite(drawn.tokens, drawn.witness)


def where_finite(tokens: Tensor, witness: Tensor) -> Tensor:
    """``tokens`` [B], with -1 where the witness [B] is NaN or infinite."""
    return torch.where(witness * 0 == 0, tokens, -1)
