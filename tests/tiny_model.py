"""The tiny model with random weights, alone and beside the released package's own, and many replies of it at a time."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from deployments.engine.alternation import Alternation, ControlTokens, Interleaved, Sequential
from deployments.engine.checkpoint import open_checkpoint
from deployments.engine.noise import uniforms
from deployments.engine.packing import pack
from deployments.engine.sampling import Choice
from deployments.engine.sequence import Modality
from deployments.engine.speech_model import SpeechModel, load_speech_model
from tests.tiny_checkpoint import stock, tiny_checkpoint

type Item = int | tuple[int, ...]  # a token of text, or the codes of a frame

CONTEXT = 256
CODEBOOKS = 8


@functools.cache
def tiny_model(folder: Path | None = None, dtype: torch.dtype = torch.float32, packed: bool = False) -> SpeechModel:
    """Shared: restore what you change of it."""
    model = load_speech_model(open_checkpoint(folder or tiny_checkpoint()), device="cpu", dtype=dtype)
    if packed:
        pack(model)
    return model


def stock_model(folder: Path | None = None) -> Any:
    return stock(folder or tiny_checkpoint()).model


def random(*size: int, seed: int = 0) -> Tensor:
    """Inputs or hidden states about as large as real ones."""
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * 0.5


def integers(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int64)


def greedy(batch: int) -> Choice:
    return Choice(torch.zeros(batch), integers(*[0] * batch), torch.full((batch, CODEBOOKS), 0.5), all_greedy=True)


def sampled(batch: int, *, temperature: float = 1.0, top_k: int = 4, seed: int = 0) -> Choice:
    noise = torch.from_numpy(uniforms(range(batch), [seed] * batch, CODEBOOKS))
    return Choice(torch.full((batch,), temperature), torch.full((batch,), top_k), noise, False, maximum_top_k=top_k)


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Lists the operations that reach the device. Views are among them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


# -- many replies at a time ------------------------------------------------------------------------------------------


class Chance(NamedTuple):
    """How one reply samples: text and sound alike."""

    temperature: float = 0.0
    top_k: int = 0
    seed: int = 0


GREEDY = Chance()


@dataclass(slots=True, eq=False)
class Reply:
    """What is asked for, when, and what was said by now. ``frames`` [n, codebooks] stand amid the prompt's ``text``."""

    text: Sequence[int]
    frames: Tensor
    limit: int
    sequential: bool = False
    joins: int = 0  # the round in which it comes
    chance: Chance = GREEDY
    said: list[Item] = field(default_factory=list)

    def prompt(self, model: SpeechModel) -> Tensor:
        text = model.embed_text(torch.tensor(self.text))
        return torch.cat((text[:3], model.embed_frames(self.frames), text[3:]))

    def of_stock(self, model: Any) -> list[Item]:
        """What the package's own generator says."""
        generate = model.generate_sequential if self.sequential else model.generate_interleaved
        flags = [1] * 3 + [3] * len(self.frames) + [1] * (len(self.text) - 3)
        items = generate(
            text=torch.tensor([self.text]),
            audio_in=torch.zeros(128, 0),
            audio_in_lens=integers(),
            audio_out=self.frames.t(),
            modality_flag=torch.tensor([flags]),
            max_new_tokens=self.limit,
        )
        return [item.item() if item.numel() == 1 else tuple(item.tolist()) for item in items]


@dataclass(slots=True, eq=False)
class Running:
    """A reply in its slot; its next input goes to ``position``."""

    reply: Reply
    slot: int
    position: int
    alternation: Alternation
    steps: int = 0
    done: bool = False

    def take(self, item: Item) -> None:
        verdict = self.alternation.take_token(item) if isinstance(item, int) else self.alternation.take_frame(item)
        if verdict.keep:
            self.reply.said.append(item)
        self.steps += 1
        self.done = verdict.stop or self.steps == self.reply.limit


class Batch:
    """Replies share every step: each joins when it comes and a slot is free, and its slot is another's afterwards."""

    def __init__(self, model: SpeechModel, controls: ControlTokens, slots: int) -> None:
        self._model = model
        self._controls = controls
        self._state = model.new_state(slots, CONTEXT)
        self._free = list(range(slots))

    @torch.inference_mode()
    def say(self, replies: Sequence[Reply]) -> None:
        waiting, running, round_number = list(replies), list[Running](), 0
        while waiting or running:
            joining = [reply for reply in waiting if reply.joins <= round_number][: len(self._free)]
            waiting = [reply for reply in waiting if reply not in joining]
            running = self._round(running, [self._seated(reply) for reply in joining])
            round_number += 1

    def _seated(self, reply: Reply) -> Running:
        shape = self._model.shape
        if reply.sequential:
            alternation: Alternation = Sequential(self._controls)
        else:
            alternation = Interleaved(self._controls, text_run=shape.text_run, audio_run=shape.audio_run)
        return Running(reply, self._free.pop(0), len(reply.text) + len(reply.frames), alternation)

    def _round(self, running: list[Running], joining: list[Running]) -> list[Running]:
        hidden = torch.cat((self._decode(running), self._prefill(joining)))
        running = running + joining
        modalities = [one.alternation.modality for one in running]
        for modality in Modality:
            places = [place for place, its in enumerate(modalities) if its is modality]
            if places:
                self._speak([running[place] for place in places], hidden[places], modality)
        self._free += [one.slot for one in running if one.done]
        return [one for one in running if not one.done]

    def _prefill(self, joining: list[Running]) -> Tensor:
        if not joining:
            return torch.empty(0, self._model.shape.hidden)
        rows, starts = integers(*[one.slot for one in joining]), integers(*[0] * len(joining))
        self._state.erase(rows)
        prompts = [one.reply.prompt(self._model) for one in joining]
        lengths = integers(*[len(prompt) for prompt in prompts])
        padded = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True)
        return self._model.prefill(self._state, padded, rows, starts, lengths, context=CONTEXT)

    def _decode(self, running: list[Running]) -> Tensor:
        if not running:
            return torch.empty(0, self._model.shape.hidden)
        positions = [one.position for one in running]
        for one in running:
            one.position += 1
        rows = integers(*[one.slot for one in running])
        return self._model.decode(self._state, rows, integers(*positions), context=CONTEXT)

    def _speak(self, speaking: list[Running], hidden: Tensor, modality: Modality) -> None:
        head = self._model.sample_text if modality is Modality.TEXT else self._model.sample_frame
        rows = integers(*[one.slot for one in speaking])
        said: list[Any] = head(self._state, hidden, rows, choice_of(speaking)).tolist()
        for one, item in zip(speaking, said, strict=True):
            one.take(item if isinstance(item, int) else tuple(item))


def choice_of(speaking: list[Running]) -> Choice:
    chances = [one.reply.chance for one in speaking]
    noise = uniforms([chance.seed for chance in chances], [one.steps for one in speaking], CODEBOOKS)
    return Choice(
        temperature=torch.tensor([chance.temperature for chance in chances]),
        top_k=integers(*[chance.top_k for chance in chances]),
        noise=torch.from_numpy(noise),
        all_greedy=all(chance.temperature == 0 for chance in chances),
        maximum_top_k=max(chance.top_k for chance in chances),
    )
