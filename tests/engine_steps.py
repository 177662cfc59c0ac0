"""Every kind of step that the engine takes, on random weights: what to call, and inputs to call it with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deployments.engine.checkpoint import open_checkpoint
from deployments.engine.detokenizer import load_detokenizer
from deployments.engine.graphs import Outputs, StepGraphs
from deployments.engine.sampling import Choice
from deployments.engine.speech_model import SpeechModel, load_speech_model
from tests.tape import tensors_in

PREFILLED = 5  # positions of a prefill
ROUNDS = 3


@dataclass(frozen=True, slots=True, eq=False)
class StepKind:
    """One bucket of one kind of step. ``inputs(rows, round)`` are for slots, or for the spare row many times."""

    name: str
    function: Callable[..., Outputs]
    inputs: Callable[[Tensor, int], tuple[Tensor, ...]]


class Steps:
    """A model with its state and its streams of sound."""

    def __init__(
        self, folder: Path, *, slots: int, positions: int = 64, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        checkpoint = open_checkpoint(folder)
        self.model: SpeechModel = load_speech_model(checkpoint, device=device, dtype=dtype)
        self.detokenizer = load_detokenizer(checkpoint, "lfm", device=device)
        self.state = self.model.new_state(slots, positions)
        self.streams: Any = self.detokenizer.new_state(slots)
        self.device = torch.device(device)
        self.slots = slots
        self._shape = self.model.shape

    def kinds(self, context: int) -> Iterator[StepKind]:
        head, model = self._head, self.model
        yield StepKind("prefill", partial(self._prefill, context=context), self._prompt)
        yield StepKind("decode", partial(self._decode, context=context), self._positions)
        for greedy in (True, False):
            yield StepKind(f"text, greedy={greedy}", partial(head, head=model.sample_text, greedy=greedy), self._text)
            yield StepKind(
                f"frame, greedy={greedy}", partial(head, head=model.sample_frame, greedy=greedy), self._frame
            )
        yield StepKind("sound", partial(self.detokenizer.decode, self.streams), self._codes)

    def spare_rows(self, batch: int) -> Tensor:
        return torch.full((batch,), self.state.spare, device=self.device)

    def rows(self, batch: int, number: int) -> Tensor:
        """Different ones in each round."""
        return torch.randperm(self.slots, generator=self._chance(number))[:batch].to(self.device)

    def memory(self) -> list[Tensor]:
        """All that steps write to, without the spare row."""
        state = self.state
        return [state.keys_values[:, :, :-1], state.conv[:, :-1], state.inputs[:-1]] + [
            part[:-1] for part in self.streams.parts()
        ]

    # -- the steps as the runner calls them ----------------------------------------------------------------------------

    def _prefill(self, embeddings: Tensor, rows: Tensor, starts: Tensor, lengths: Tensor, *, context: int) -> Tensor:
        return self.model.prefill(self.state, embeddings, rows, starts, lengths, context=context)

    def _decode(self, rows: Tensor, positions: Tensor, *, context: int) -> Tensor:
        return self.model.decode(self.state, rows, positions, context=context)

    def _head(
        self,
        hidden: Tensor,
        rows: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        noise: Tensor,
        *,
        head: Callable[..., Tensor],
        greedy: bool,
    ) -> Tensor:
        choice = Choice(temperature, top_k, noise, all_greedy=greedy, maximum_top_k=0 if greedy else 8)
        return head(self.state, hidden, rows, choice)

    # -- their inputs --------------------------------------------------------------------------------------------------

    def _prompt(self, rows: Tensor, number: int) -> tuple[Tensor, ...]:
        embeddings = self._normal(number, len(rows), PREFILLED, self._shape.hidden)
        lengths = torch.randint(1, PREFILLED + 1, (len(rows),), generator=self._chance(number))
        return embeddings, rows, torch.full_like(rows, number), lengths.to(self.device)

    def _positions(self, rows: Tensor, number: int) -> tuple[Tensor, ...]:
        return rows, torch.randint(0, 16, (len(rows),), generator=self._chance(number)).to(self.device)

    def _text(self, rows: Tensor, number: int) -> tuple[Tensor, ...]:
        return self._drawn(rows, number, 1)

    def _frame(self, rows: Tensor, number: int) -> tuple[Tensor, ...]:
        return self._drawn(rows, number, self._shape.codebooks)

    def _drawn(self, rows: Tensor, number: int, draws: int) -> tuple[Tensor, ...]:
        hidden = self._normal(number, len(rows), self._shape.hidden)
        temperature = torch.rand(len(rows), generator=self._chance(number)).to(self.device)
        top_k = torch.randint(0, 9, (len(rows),), generator=self._chance(number)).to(self.device)
        noise = torch.rand(len(rows), draws, generator=self._chance(number)).clamp(min=1e-6).to(self.device)
        return hidden, rows, temperature, top_k, noise

    def _codes(self, rows: Tensor, number: int) -> tuple[Tensor, ...]:
        codes = torch.randint(0, 2049, (len(rows), self._shape.codebooks), generator=self._chance(number))
        return codes.to(self.device), rows

    def _normal(self, number: int, *size: int) -> Tensor:
        return torch.randn(size, generator=self._chance(number)).to(self.device, self.model.dtype)

    @staticmethod
    def _chance(number: int) -> torch.Generator:
        return torch.Generator().manual_seed(number)


def replay_beside_calls(
    graphs: StepGraphs, recorded: Steps, called: Steps, *, batch: int, context: int, exact: bool = True
) -> None:
    """Every kind of step, recorded for the one and called for the other, says and leaves behind the same."""
    for kind in recorded.kinds(context):
        graphs.capture((kind.name, batch, context), kind.function, *kind.inputs(recorded.spare_rows(batch), 0))
    for number in range(1, ROUNDS + 1):
        rows = recorded.rows(batch, number)
        for replayed, kind in zip(recorded.kinds(context), called.kinds(context), strict=True):
            key = replayed.name, batch, context
            made = graphs.run(key, replayed.function, *replayed.inputs(rows, number))
            assert_same(tensors_in(made), tensors_in(kind.function(*kind.inputs(rows, number))), exact)
            assert_same(recorded.memory(), called.memory(), exact)


def assert_same(made: list[Tensor], expected: list[Tensor], exact: bool) -> None:
    tolerance = 0.0 if exact else None
    for one, other in zip(made, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
