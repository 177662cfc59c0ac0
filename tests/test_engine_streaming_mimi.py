"""Mimi for many streams at once, against a stream that is decoded alone by the package."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from deployments.engine.checkpoint import open_checkpoint
from deployments.engine.detokenizer import Detokenizer, load_detokenizer
from deployments.engine.graphs import StepGraphs
from deployments.engine.random_checkpoint import small_mimi
from deployments.engine.streaming_mimi import MimiDetokenizer
from routing.errors import ModelError
from tests.tape import TapeRecorder
from tests.tiny_checkpoint import tiny_checkpoint

pytestmark = pytest.mark.engine

CODEBOOKS = 8
FRAME = 1920
SLOTS = 3
SPARE = SLOTS


@pytest.fixture(scope="module")
def ours() -> MimiDetokenizer:
    with small_mimi():
        loaded = load_detokenizer(open_checkpoint(tiny_checkpoint(mimi=True)), "mimi", device="cpu")
    assert isinstance(loaded, MimiDetokenizer)
    make_attention_heard(loaded._mimi)
    return loaded


@pytest.fixture(scope="module")
def stock() -> Any:
    from liquid_audio.moshi.models import loaders

    file = open_checkpoint(tiny_checkpoint(mimi=True)).mimi_file
    with small_mimi():
        mimi = loaders.get_mimi(file, num_codebooks=CODEBOOKS)
    make_attention_heard(mimi)
    return mimi


def make_attention_heard(mimi: Any) -> None:
    """A transformer begins its training with a whisper, and a fault in its memory would go unheard."""
    for name, parameter in mimi.named_parameters():
        if "layer_scale" in name:
            parameter.data.fill_(0.7)


def random_codes(frames: int, seed: int = 0) -> Tensor:
    """[frames, codebooks]"""
    return torch.randint(0, 2048, (frames, CODEBOOKS), generator=torch.Generator().manual_seed(seed))


def same(ours: Tensor, stock: Tensor) -> None:
    assert_close(ours, stock, rtol=0, atol=1e-5)


@torch.inference_mode()
def alone(stock: Any, codes: Tensor) -> Tensor:
    """The package's sound [samples] of codes [frames, codebooks], in a batch of one."""
    with stock.streaming(1):
        return torch.cat([stock.decode(frame[None, :, None])[0, 0] for frame in codes])


@torch.inference_mode()
def streamed(ours: Detokenizer, codes: Tensor, state: Any, row: int) -> Tensor:
    return torch.cat([ours.decode(state, frame[None], torch.tensor([row]))[0] for frame in codes])


def test_a_stream_sounds_as_it_does_alone(ours: Detokenizer, stock: Any) -> None:
    codes = random_codes(140)  # more than its attention looks back
    state = ours.new_state(SLOTS)
    sound = streamed(ours, codes, state, row=1)
    assert (ours.frame_samples, ours.lookahead_samples, len(sound)) == (FRAME, 0, 140 * FRAME)
    assert sound.std() > 1e-4
    same(sound, alone(stock, codes))
    assert ours.flush(state, torch.tensor([1, 0])).shape == (2, 0)


class Story:
    """Replies that come and go in a few slots: who is decoded together, and in which order, is left to chance."""

    def __init__(self, ours: Detokenizer, stock: Any, seed: int) -> None:
        self._ours = ours
        self._stock = stock
        self._random = random.Random(seed)
        self._seed = seed
        self._state = ours.new_state(SLOTS)
        self._codes: list[list[Tensor]] = [[] for _ in range(SLOTS)]
        self._sound: list[list[Tensor]] = [[] for _ in range(SLOTS)]
        self.finished = 0

    def step(self) -> None:
        rows = self._random.sample(range(SLOTS), self._random.randint(1, SLOTS))
        padded = [*rows, *[SPARE] * self._random.randint(0, 2)]
        self._seed += 1
        codes = random_codes(len(padded), self._seed)
        sound = self._ours.decode(self._state, codes, torch.tensor(padded))
        for index, row in enumerate(rows):
            self._codes[row].append(codes[index])
            self._sound[row].append(sound[index])

    def end_some(self, chance: float) -> None:
        ending = [row for row in range(SLOTS) if self._codes[row] and self._random.random() < chance]
        for row in ending:
            same(torch.cat(self._sound[row]), alone(self._stock, torch.stack(self._codes[row])))
            self._codes[row], self._sound[row] = [], []
            self.finished += 1
        self._ours.reset(self._state, torch.tensor([*ending, SPARE, SPARE]))


@pytest.mark.parametrize("seed", [1, 2, 3])
@torch.inference_mode()
def test_streams_do_not_hear_each_other_nor_those_before_them(ours: Detokenizer, stock: Any, seed: int) -> None:
    story = Story(ours, stock, seed)
    for _ in range(25):
        story.step()
        story.end_some(0.1)
    story.end_some(1.0)
    assert story.finished > SLOTS


@torch.inference_mode()
def test_codes_out_of_range_are_the_nearest_in_range(ours: Detokenizer, stock: Any) -> None:
    codes = random_codes(3)
    codes[1, 4] = 2048  # the end of sound, which any codebook may say
    codes[2, 0] = -1  # nothing finite to choose from
    same(streamed(ours, codes, ours.new_state(SLOTS), row=0), alone(stock, codes.clamp(0, 2047)))


def test_a_new_state_ends_the_one_before(ours: Detokenizer, stock: Any) -> None:
    codes = random_codes(4)
    before = ours.new_state(SLOTS)
    streamed(ours, codes, before, row=0)
    same(streamed(ours, codes, ours.new_state(1), row=0), alone(stock, codes))
    with pytest.raises(AssertionError):
        ours.decode(before, codes[:1], torch.tensor([0]))


def test_a_call_can_be_recorded(ours: Detokenizer, stock: Any) -> None:
    """As on a GPU: nothing waits for the device, and a replay finds everything where it was."""
    graphs, state = StepGraphs(torch.device("cpu"), recorder=TapeRecorder()), ours.new_state(SLOTS)
    codes, spare = random_codes(6), torch.tensor([SPARE])

    def decode(codes: Tensor, rows: Tensor) -> Tensor:
        return ours.decode(state, codes, rows)

    def reset(rows: Tensor) -> Tensor:
        ours.reset(state, rows)
        return rows

    with torch.inference_mode():
        graphs.capture("decode", decode, codes[:1], spare)
        graphs.capture("reset", reset, spare)
        for _ in range(2):  # the second time in rows that were used
            graphs.run("reset", reset, torch.tensor([1]))
            sound = [graphs.run("decode", decode, frame[None], torch.tensor([1]))[0] for frame in codes]
            same(torch.cat(sound), alone(stock, codes))
    assert graphs.statistics().replays == 2 + 2 * len(codes)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_it_can_be_compiled_whole(ours: Detokenizer, stock: Any) -> None:
    codes, state = random_codes(3), ours.new_state(SLOTS)
    compiled = torch.compile(ours.decode, fullgraph=True, backend="eager", dynamic=False)
    with torch.inference_mode():
        sound = [compiled(state, frame[None], torch.tensor([2]))[0] for frame in codes]
    same(torch.cat(sound), alone(stock, codes))


def test_only_the_half_that_decodes_is_kept(ours: MimiDetokenizer, stock: Any) -> None:
    def size(mimi: Any) -> int:
        return sum(tensor.numel() for tensor in mimi.state_dict().values())

    dropped = {
        name: tensor for name, tensor in stock.state_dict().items() if name.startswith(("encoder", "downsample"))
    }
    assert size(ours._mimi) == size(stock) - sum(tensor.numel() for tensor in dropped.values())


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mimi.safetensors").write_bytes(b"none")
    with pytest.raises(ModelError, match=r"mimi\.safetensors: expected the weights of Mimi"):
        MimiDetokenizer.load(tmp_path / "mimi.safetensors", codebooks=CODEBOOKS, device="cpu")
    with small_mimi():
        file = open_checkpoint(tiny_checkpoint(mimi=True)).mimi_file
    assert file is not None
    with pytest.raises(ModelError, match="expected the weights of Mimi"):
        MimiDetokenizer.load(file, codebooks=CODEBOOKS, device="cpu")  # of the architecture that the package has
