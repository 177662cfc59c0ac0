"""From codes to sound with Mimi, the codec that comes with the first LFM2-Audio checkpoints, for many streams at once.

The package keeps what a stream remembers inside the modules, a row for each stream of a batch of fixed size, and
honours a mask of the rows that a call is about. So every call runs all rows, and changes those that it is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from liquid_audio.moshi.models import loaders
from liquid_audio.moshi.utils.compile import no_compile, no_cuda_graph
from safetensors import SafetensorError
from torch import Tensor, nn

from routing.errors import ModelError


@dataclass(frozen=True, slots=True, eq=False)
class MimiStreams:
    """What a call tells the codec: the codes and which rows are meant. What is remembered lies in the modules."""

    codes: Tensor  # [slots + 1, codebooks, 1] int64
    none: Tensor  # [slots + 1] bool, all of it False

    def only(self, rows: Tensor) -> Tensor:
        """The mask [slots + 1] of these rows."""
        return self.none.index_fill(0, rows, True)


class MimiDetokenizer:
    """Streams of one Mimi, which can have one state at a time: a new one ends the one before.

    The package would record CUDA graphs of its own and compile its rotations at their first use. Both are kept off,
    so that a whole call can be recorded from outside: nothing in it waits, and all it writes stays where it is.

    A call that fails midway leaves the streams of its rows undefined: reset them.
    """

    lookahead_samples = 0

    def __init__(self, mimi: Any, *, codebooks: int) -> None:
        self._mimi = mimi
        self._codebooks = codebooks
        self._device = next(mimi.parameters()).device
        self._streaming = ExitStack()
        self._state: MimiStreams | None = None
        self.frame_samples: int = mimi.frame_size
        self._warm_up()

    @classmethod
    def load(cls, file: Path, *, codebooks: int, device: torch.device | str) -> Self:
        """From the codec's file in a checkpoint's folder.

        Raises:
            ModelError: it is damaged or belongs to something else.
        """
        try:
            mimi = loaders.get_mimi(file, device=str(device), num_codebooks=codebooks)
        except (OSError, RuntimeError, SafetensorError) as exc:
            raise ModelError(f"{file}: expected the weights of Mimi: {exc}") from exc
        drop_encoder(mimi)
        return cls(mimi, codebooks=codebooks)

    def new_state(self, slots: int) -> MimiStreams:
        self._streaming.close()
        with as_it_is():
            self._streaming = self._mimi.streaming(slots + 1)
        self._state = MimiStreams(
            codes=torch.zeros((slots + 1, self._codebooks, 1), dtype=torch.int64, device=self._device),
            none=torch.zeros(slots + 1, dtype=torch.bool, device=self._device),
        )
        return self._state

    def reset(self, state: MimiStreams, rows: Tensor) -> None:
        assert state is self._state
        with as_it_is():
            self._mimi.reset_streaming(state.only(rows))

    def decode(self, state: MimiStreams, codes: Tensor, rows: Tensor) -> Tensor:
        assert state is self._state
        state.codes.index_copy_(0, rows, codes.clamp(0, self._mimi.cardinality - 1)[:, :, None])
        with as_it_is():
            self._mimi.set_exec_mask(state.only(rows))
            sound: Tensor = self._mimi.decode(state.codes)
        return sound[:, 0].index_select(0, rows)

    def flush(self, state: MimiStreams, rows: Tensor) -> Tensor:
        """Nothing: the codec looks at no later frame."""
        assert state is self._state
        return torch.zeros((len(rows), self.lookahead_samples), device=self._device)

    @torch.no_grad()
    def _warm_up(self) -> None:
        """The codec computes its tables of codes at their first use, which must not be while a call is recorded."""
        with as_it_is():
            self._mimi.decode(torch.zeros((1, self._codebooks, 1), dtype=torch.int64, device=self._device))


@contextmanager
def as_it_is() -> Iterator[None]:
    """While inside, the package runs its code as it is: it neither records nor compiles."""
    with no_cuda_graph(), no_compile():
        yield


def drop_encoder(mimi: Any) -> None:
    """Half of the weights, which only the way from sound to codes needs."""
    mimi.encoder = nn.Identity()
    mimi.encoder_transformer = None
    del mimi.downsample
