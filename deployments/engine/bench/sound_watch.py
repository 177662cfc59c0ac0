"""A detokenizer that is watched: how much of a step goes into the making of sound."""

from __future__ import annotations

import time
from typing import Any

from torch import Tensor

from deployments.engine.bench.side import Clock
from deployments.engine.detokenizer import Detokenizer


class SoundWatch:
    """Does what ``detokenizer`` does, and adds up in ``spent`` what that takes on ``clock``.

    A recorded step on a GPU does not come by here: then nothing is spent, and the sound is a part of its step.
    """

    def __init__(self, detokenizer: Detokenizer) -> None:
        self.clock: Clock = time.perf_counter
        self.spent = 0.0
        self._detokenizer = detokenizer

    @property
    def frame_samples(self) -> int:
        return self._detokenizer.frame_samples

    @property
    def lookahead_samples(self) -> int:
        return self._detokenizer.lookahead_samples

    def new_state(self, slots: int) -> Any:
        return self._detokenizer.new_state(slots)

    def reset(self, state: Any, rows: Tensor) -> None:
        self._detokenizer.reset(state, rows)

    def decode(self, state: Any, codes: Tensor, rows: Tensor) -> Tensor:
        began = self.clock()
        sound = self._detokenizer.decode(state, codes, rows)
        self.spent += self.clock() - began
        return sound

    def flush(self, state: Any, rows: Tensor) -> Tensor:
        return self._detokenizer.flush(state, rows)
