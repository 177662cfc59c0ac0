"""Sound that is made frame by frame, many streams at once, against the package's own decoding of a whole reply."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from deployments.engine.checkpoint import open_checkpoint
from deployments.engine.detokenizer import LfmDetokenizer, LfmStreams, load_detokenizer, overlap_add
from deployments.engine.graphs import StepGraphs
from routing.errors import ModelError
from tests.tape import TapeRecorder
from tests.tiny_checkpoint import cached_checkpoint, stock_detokenizer, tiny_checkpoint

pytestmark = pytest.mark.engine

CODEBOOKS = 8
FRAME = 1920
LOOKAHEAD = 480
SLOTS = 4
SPARE = SLOTS


class Pair(NamedTuple):
    folder: Path
    ours: LfmDetokenizer
    stock: Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def pair() -> Pair:
    """All eight layers of the released model, small inside."""
    folder = cached_checkpoint("deep", seed=0) / "audio_detokenizer"
    return Pair(folder, LfmDetokenizer.load(folder, codebooks=CODEBOOKS, device="cpu"), stock_detokenizer(folder))


def random_codes(frames: int, seed: int = 0) -> Tensor:
    """[frames, codebooks]"""
    return torch.randint(0, 2048, (frames, CODEBOOKS), generator=torch.Generator().manual_seed(seed))


def same(ours: Tensor, stock: Tensor) -> None:
    assert_close(ours, stock, rtol=0, atol=1e-5)


def identical(ours: Tensor, other: Tensor) -> None:
    assert_close(ours, other, rtol=0, atol=0)


@torch.inference_mode()
def whole(pair: Pair, codes: Tensor) -> Tensor:
    """The package's sound [samples] of a whole stream of codes [frames, codebooks]."""
    return pair.stock(codes.T[None])[0]


@torch.inference_mode()
def streamed(ours: LfmDetokenizer, codes: Tensor, state: LfmStreams | None = None, row: int = 0) -> Tensor:
    """Our sound of it, made frame by frame in one row."""
    state = ours.new_state(SLOTS) if state is None else state
    rows = torch.tensor([row])
    frames = [ours.decode(state, frame[None], rows)[0] for frame in codes]
    return torch.cat([*frames, ours.flush(state, rows)[0]])[LOOKAHEAD:]


@pytest.mark.parametrize("frames", [1, 2, 5, 6, 7, 17, 110])
def test_a_stream_sounds_like_the_whole(pair: Pair, frames: int) -> None:
    codes = random_codes(frames, seed=frames)
    sound = streamed(pair.ours, codes)
    assert sound.abs().max() > 0.1  # it says something
    same(sound, whole(pair, codes))


def test_frames_have_a_fixed_shape_and_begin_before_the_stream(pair: Pair) -> None:
    ours = pair.ours
    assert (ours.frame_samples, ours.lookahead_samples) == (FRAME, LOOKAHEAD)
    state, rows = ours.new_state(SLOTS), torch.tensor([2, 0])
    sound = ours.decode(state, random_codes(2), rows)
    assert (sound.shape, sound.dtype) == ((2, FRAME), torch.float32)
    assert not sound[:, :LOOKAHEAD].any()
    assert ours.flush(state, rows).shape == (2, LOOKAHEAD)


class Story:
    """Replies that come and go in a few slots: who is decoded together, and in which order, is left to chance."""

    def __init__(self, pair: Pair, seed: int) -> None:
        self._pair = pair
        self._random = random.Random(seed)
        self._state = pair.ours.new_state(SLOTS)
        self._codes: list[list[Tensor]] = [[] for _ in range(SLOTS)]
        self._sound: list[list[Tensor]] = [[] for _ in range(SLOTS)]
        self._seed = seed
        self.finished = 0

    def step(self) -> None:
        rows = self._random.sample(range(SLOTS), self._random.randint(1, SLOTS))
        padded = [*rows, *[SPARE] * self._random.randint(0, 3)]
        self._seed += 1
        codes = random_codes(len(padded), self._seed)
        sound = self._pair.ours.decode(self._state, codes, torch.tensor(padded))
        for index, row in enumerate(rows):
            self._codes[row].append(codes[index])
            self._sound[row].append(sound[index])

    def end_some(self) -> None:
        ending = [row for row in range(SLOTS) if self._codes[row] and self._random.random() < 0.1]
        if not ending:
            return
        for row, last in zip(ending, self._pair.ours.flush(self._state, torch.tensor(ending)), strict=True):
            sound = torch.cat([*self._sound[row], last])[LOOKAHEAD:]
            same(sound, whole(self._pair, torch.stack(self._codes[row])))
            self._codes[row], self._sound[row] = [], []
            self.finished += 1
        self._pair.ours.reset(self._state, torch.tensor([*ending, SPARE, SPARE]))


@settings(max_examples=4)
@given(seed=st.integers(0, 2**32))
def test_streams_do_not_hear_each_other_nor_those_before_them(pair: Pair, seed: int) -> None:
    story = Story(pair, seed)
    with torch.inference_mode():
        for _ in range(30):
            story.step()
            story.end_some()
    assert story.finished > 0


@torch.inference_mode()
def test_flush_changes_nothing(pair: Pair) -> None:
    codes, state, row = random_codes(5), pair.ours.new_state(SLOTS), torch.tensor([0])
    sound = []
    for frame in codes:
        pair.ours.flush(state, row)
        sound.append(pair.ours.decode(state, frame[None], row)[0])
    same(torch.cat([*sound, pair.ours.flush(state, row)[0]])[LOOKAHEAD:], whole(pair, codes))


def test_codes_out_of_range_are_the_nearest_in_range(pair: Pair) -> None:
    codes = random_codes(3)
    codes[1, 4] = 2048  # the end of sound, which any codebook may say
    codes[2, 0] = -1  # nothing finite to choose from
    within = codes.clamp(0, 2047)
    identical(streamed(pair.ours, codes), streamed(pair.ours, within))


def test_what_is_not_finite_ends_with_its_stream(pair: Pair) -> None:
    codes, state = random_codes(8), pair.ours.new_state(SLOTS)
    for part in state.parts():
        if part.is_floating_point():
            part[1] = float("nan")
    pair.ours.reset(state, torch.tensor([1]))
    same(streamed(pair.ours, codes, state, row=1), whole(pair, codes))


def test_memory_is_the_same_however_long_a_stream_is(pair: Pair) -> None:
    state = pair.ours.new_state(SLOTS)
    before = [(part.data_ptr(), part.shape) for part in state.parts()]
    streamed(pair.ours, random_codes(60), state)
    assert [(part.data_ptr(), part.shape) for part in state.parts()] == before


# -- as a step -------------------------------------------------------------------------------------------------------


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations, and fails at the one that it is told to."""

    def __init__(self, fail_at: int | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []
        self._fail_at = fail_at

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if len(self.names) == self._fail_at:
            raise RuntimeError("out of memory")
        self.names.append(func.name().removeprefix("aten::").partition(".")[0])
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def test_a_call_that_fails_changes_nothing(pair: Pair) -> None:
    codes, rows, state = random_codes(4), torch.tensor([0]), pair.ours.new_state(SLOTS)
    with Operations() as counted:
        first = pair.ours.decode(state, codes[:1], rows)
    sound = [first[0]]
    first_write = counted.names.index("index_copy_")
    assert not set(counted.names[first_write:]) - {"index_copy_"}
    for frame, fail_at in zip(codes[1:], (10, first_write // 2, first_write), strict=True):
        with pytest.raises(RuntimeError, match="out of memory"), Operations(fail_at):
            pair.ours.decode(state, frame[None], rows)
        sound.append(pair.ours.decode(state, frame[None], rows)[0])
    together = torch.cat([*sound, pair.ours.flush(state, rows)[0]])[LOOKAHEAD:]
    same(together, whole(pair, codes))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_call_can_be_recorded(pair: Pair, device: str) -> None:
    """Nothing waits for the device, and a replay finds everything where it was. A tape stands in for a GPU."""
    recorder = TapeRecorder() if device == "cpu" else None
    graphs = StepGraphs(torch.device(device), recorder=recorder)
    ours = LfmDetokenizer.load(pair.folder, codebooks=CODEBOOKS, device=device)
    state, codes = ours.new_state(SLOTS), random_codes(8).to(device)

    def decode(codes: Tensor, rows: Tensor) -> Tensor:
        return ours.decode(state, codes, rows)

    def flush(rows: Tensor) -> Tensor:
        return ours.flush(state, rows)

    def reset(rows: Tensor) -> Tensor:
        ours.reset(state, rows)
        return rows

    spare, rows = torch.tensor([[SPARE, SPARE], [3, SPARE]], device=device)
    with torch.inference_mode():
        graphs.capture("decode", decode, codes[:2], spare)
        graphs.capture("flush", flush, spare)
        graphs.capture("reset", reset, spare)
        for _ in range(2):  # the second time in rows that were used
            graphs.run("reset", reset, rows)
            sound = [graphs.run("decode", decode, frame.expand(2, -1), rows)[0] for frame in codes]
            last = graphs.run("flush", flush, rows)[0]
            same(torch.cat([*sound, last])[LOOKAHEAD:].cpu(), whole(pair, codes.cpu()))
    assert graphs.statistics().replays == 2 * (len(codes) + 2)


def test_it_can_be_compiled_whole(pair: Pair) -> None:
    codes, rows = random_codes(2), torch.tensor([3, 1])
    compiled = torch.compile(pair.ours.decode, fullgraph=True, backend="eager", dynamic=False)
    ours, theirs = pair.ours.new_state(SLOTS), pair.ours.new_state(SLOTS)
    with torch.inference_mode():
        for _ in range(2):
            identical(compiled(ours, codes, rows), pair.ours.decode(theirs, codes, rows))


def test_windows_are_added_where_they_overlap() -> None:
    windows = torch.zeros(1, 3 + 2, 8)
    windows[0, 0] = 1.0  # the oldest: its last hop still sounds in the first of the two new ones
    windows[0, 3] = torch.arange(8)
    windows[0, 4] = 100.0
    assert overlap_add(windows).tolist() == [[1.0, 2.0, 102.0, 103.0]]


# -- the files -------------------------------------------------------------------------------------------------------


def test_the_folder_decides_what_is_loaded(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(tiny_checkpoint())
    assert isinstance(load_detokenizer(checkpoint, "auto", device="cpu"), LfmDetokenizer)
    with pytest.raises(ModelError, match=r"expected tokenizer-e351c8d8-checkpoint125\.safetensors .* found: audio_det"):
        load_detokenizer(checkpoint, "mimi", device="cpu")


@pytest.fixture
def copied(pair: Pair, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pair.folder, tmp_path / "copied"))


def test_another_architecture_is_refused_by_the_tensors_that_it_has(copied: Path) -> None:
    tensors = load_file(copied / "model.safetensors")
    tensors["lfm.layers.0.conv.conv.bias"] = torch.zeros(512)
    del tensors["lin.bias"]
    save_file(tensors, copied / "model.safetensors")
    with pytest.raises(
        ModelError, match=r"in 2 tensors: lfm.*bias: expected None, .*; lin.bias: expected \(1282,\), found None"
    ):
        LfmDetokenizer.load(copied, codebooks=CODEBOOKS, device="cpu")


def test_the_configuration_is_read_not_assumed(pair: Pair, copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "sliding_window": 11}))
    theirs = stock_detokenizer(copied)
    codes = random_codes(8)
    sound = streamed(LfmDetokenizer.load(copied, codebooks=CODEBOOKS, device="cpu"), codes)
    same(sound, whole(pair._replace(stock=theirs), codes))
    (copied / "config.json").write_text(json.dumps({**config, "num_attention_heads": 12}))
    with pytest.raises(ModelError, match="num_attention_heads"):
        LfmDetokenizer.load(copied, codebooks=CODEBOOKS, device="cpu")
