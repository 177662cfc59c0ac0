"""liquid_audio's own generator: one caller at a time, driven as its users drive it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from liquid_audio import ChatState, LFM2AudioModel, LFM2AudioProcessor
from liquid_audio.detokenizer import LFM2AudioDetokenizer
from safetensors.torch import load_file
from torch import Tensor

from deployments.engine.bench.side import Clock
from deployments.engine.random_checkpoint import CODES, empty_detokenizer
from routing.turns import SPEECH_SAMPLE_RATE, Samples

SYSTEM = "Respond with interleaved text and audio."
LEFT_CONTEXT: Final = 16  # frames: with so many before it, a frame decoded anew equals that of a full decode
AUDIO_TEMPERATURE, AUDIO_TOP_K = 1.0, 4
FRAME_SAMPLES = 1920
ENDLESS = 1 << 20  # steps


@dataclass(frozen=True, slots=True, eq=False)
class StockModel:
    """What the package's users load."""

    model: LFM2AudioModel
    processor: LFM2AudioProcessor
    detokenizer: LFM2AudioDetokenizer

    def weights(self) -> dict[str, int]:
        """How many numbers each tensor has."""
        return {name: tensor.numel() for name, tensor in self.model.state_dict(keep_vars=True).items()}


def load_stock(folder: Path, *, device: torch.device, dtype: torch.dtype) -> StockModel:
    """The stock model in ``folder``, in the mode for inference, which it is not loaded in."""
    return StockModel(
        LFM2AudioModel.from_pretrained(folder, device=device, dtype=dtype).eval(),
        LFM2AudioProcessor.from_pretrained(folder, device=device).eval(),
        _load_detokenizer(folder / "audio_detokenizer").to(device),
    )


def _load_detokenizer(folder: Path) -> Any:
    """Built here because the processor's own property wants CUDA."""
    detokenizer = empty_detokenizer(json.loads((folder / "config.json").read_text()))
    detokenizer.load_state_dict(load_file(folder / "model.safetensors"))
    return detokenizer.eval()


class StockSide:
    """The public generator with one caller. Its sound is made frame by frame, as a caller who listens needs it."""

    name: Final = "stock"
    batch: Final = 1

    def __init__(self, stock: StockModel, speech: Samples, *, dtype: torch.dtype) -> None:
        self.clock: Clock = time.perf_counter
        self._stock = stock
        self._speech = torch.from_numpy(speech)[None]
        self._dtype = dtype
        self._items: Iterator[Tensor] = iter(())
        self._frames: list[Tensor] = []
        self._positions = 0

    @property
    def positions(self) -> int:
        return self._positions

    def begin(self) -> None:
        chat = self._prompt()
        self._frames = []
        self._positions = chat.modality_flag.shape[1] - 1
        self._items = self._stock.model.generate_interleaved(
            **chat, max_new_tokens=ENDLESS, audio_temperature=AUDIO_TEMPERATURE, audio_top_k=AUDIO_TOP_K
        )
        self.text_step()

    def text_step(self) -> None:
        self._next(1)

    def audio_step(self) -> float:
        self._frames.append(self._next(self._stock.model.codebooks))
        began = self.clock()
        self._decode()
        return self.clock() - began

    def end(self) -> None:
        self._items = iter(())

    def _prompt(self) -> ChatState:
        chat = ChatState(self._stock.processor, codebooks=self._stock.model.codebooks, dtype=self._dtype)
        chat.new_turn("system")
        chat.add_text(SYSTEM)
        chat.end_turn()
        chat.new_turn("user")
        chat.add_audio(self._speech, SPEECH_SAMPLE_RATE)
        chat.end_turn()
        chat.new_turn("assistant")
        return chat

    def _next(self, size: int) -> Tensor:
        item = next(self._items).cpu()
        assert item.numel() == size, "the reply left its rhythm: a control token was the likeliest"
        self._positions += 1
        return item

    @torch.no_grad()
    def _decode(self) -> Tensor:
        """The sound of the last frame, cut out of what it and the frames before it sound like."""
        codes = torch.stack(self._frames[-LEFT_CONTEXT - 1 :], dim=-1)[None].to(
            self._stock.model.codebook_offsets.device
        )
        sound: Tensor = self._stock.detokenizer(codes.clamp(max=CODES - 1))
        return sound[0, -FRAME_SAMPLES:].cpu()
