"""Checkpoints of random weights: of the released layout and sizes, and with a little of everything in their replies."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from deployments.engine.checkpoint import open_checkpoint
from deployments.engine.random_checkpoint import (
    CONTROL_IDS,
    PRESETS,
    detokenizer_config,
    empty_detokenizer,
    empty_model,
    model_config,
    small_mimi,
    tokenizer_definition,
    write_random_checkpoint,
)
from deployments.engine.shape import shape_of
from tests.tiny_checkpoint import cached_checkpoint, stock, tiny_checkpoint

pytestmark = pytest.mark.engine

# -- layout and sizes ------------------------------------------------------------------------------------------------


def safetensors_size(tensors: Mapping[str, Tensor], *, floats: torch.dtype, metadata: Mapping[str, str] | None) -> int:
    """Bytes of the file that holds ``tensors``: eight for the header's length, the header padded to eight, the data."""
    names = {torch.bfloat16: "BF16", torch.float32: "F32", torch.int64: "I64"}
    kinds = {name: floats if tensor.is_floating_point() else tensor.dtype for name, tensor in tensors.items()}
    header: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    end = 0
    for name in sorted(tensors, key=lambda name: (-kinds[name].itemsize, name)):
        start, end = end, end + tensors[name].numel() * kinds[name].itemsize
        shape = list(tensors[name].shape)
        header[name] = {"dtype": names[kinds[name]], "shape": shape, "data_offsets": [start, end]}
    length = len(json.dumps(header, separators=(",", ":")))
    return 8 + 8 * -(length // -8) + end


def test_the_full_preset_is_the_released_model_to_the_byte() -> None:
    with FakeTensorMode():  # nothing is allocated
        state = empty_model(model_config(PRESETS["full"], text_run=6, audio_run=12)).state_dict()
        assert len(state) == 931
        assert safetensors_size(state, floats=torch.bfloat16, metadata={"format": "pt"}) == 2_940_723_992


def test_its_detokenizer_is_the_released_one_to_the_byte() -> None:
    with FakeTensorMode():
        state = empty_detokenizer(detokenizer_config(PRESETS["full"])).state_dict()
        assert safetensors_size(state, floats=torch.float32, metadata=None) == 314_137_512


def test_the_size_is_computed_as_the_file_is_written() -> None:
    folder = tiny_checkpoint()
    size = safetensors_size(open_checkpoint(folder).tensors(), floats=torch.float32, metadata={"format": "pt"})
    assert size == (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize("name", PRESETS)
def test_a_config_says_of_each_preset_what_the_preset_says(name: str) -> None:
    preset = PRESETS[name]
    shape = shape_of(model_config(preset, text_run=6, audio_run=9))
    assert (shape.hidden, len(shape.layers), shape.text_run, shape.audio_run) == (preset.hidden, preset.layers, 6, 9)
    assert [place for place, kind in enumerate(shape.layers) if kind == "attention"] == list(preset.attention)


def test_the_keys_are_those_that_the_package_takes() -> None:
    from dataclasses import fields

    from liquid_audio.model.conformer.encoder import ConformerEncoderConfig
    from liquid_audio.model.lfm2_audio import DepthformerConfig
    from liquid_audio.processor import PreprocessorConfig

    config = model_config(PRESETS["tiny"], text_run=6, audio_run=12)
    parts = {"preprocessor": PreprocessorConfig, "encoder": ConformerEncoderConfig, "depthformer": DepthformerConfig}
    for name, part in parts.items():
        assert set(config[name]) == {field.name for field in fields(part)}


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    told: list[str] = []
    state = torch.get_rng_state()
    for name, seed in (("first", 3), ("again", 3), ("other", 4)):
        write_random_checkpoint(
            tmp_path / name, PRESETS["tiny"], seed=seed, detokenizer=False, dtype=torch.bfloat16, progress=told.append
        )
    first, again, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "again", "other"))
    assert first == again != other
    assert told.count("weights: 0%") >= 3
    assert torch.equal(torch.get_rng_state(), state)  # the caller's own numbers are not disturbed
    checkpoint = open_checkpoint(tmp_path / "first")
    assert checkpoint.tensors("depth_linear.")["weight"].dtype == torch.bfloat16
    assert (checkpoint.detokenizer_folder, checkpoint.mimi_file) == (None, None)


def test_no_weight_is_left_at_a_value_that_does_nothing() -> None:
    tensors = open_checkpoint(tiny_checkpoint()).tensors()
    idle = ("codebook_offsets", "audio_loss_weights", "num_batches_tracked")
    for name, tensor in tensors.items():
        if not name.endswith(idle):
            assert not torch.isin(tensor, torch.tensor([0.0, 1.0])).any(), name


def test_tied_weights_are_written_twice() -> None:
    tensors = open_checkpoint(tiny_checkpoint()).tensors("depth_embeddings.3.")
    assert torch.equal(tensors["embedding.weight"], tensors["to_logits.weight"])


# -- the tokenizer ---------------------------------------------------------------------------------------------------


def test_control_tokens_are_at_the_released_places() -> None:
    tokenizer = open_checkpoint(tiny_checkpoint()).tokenizer
    assert {name: tokenizer.token_to_id(name) for name in CONTROL_IDS} == CONTROL_IDS
    text = "<|im_start|>user\nGrüß Gott, 日本!<|im_end|>\n"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert (ids[0], ids[-2]) == (6, 7)
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert tokenizer.encode(text).ids == [1, *ids]  # the start of the text is put in front, unless told otherwise


@pytest.mark.parametrize("vocabulary", [512, 8192])
def test_what_a_model_samples_can_be_read(vocabulary: int) -> None:
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_definition(vocabulary)))
    assert tokenizer.get_vocab_size() == min(vocabulary, 1024)
    assert tokenizer.decode([511]) == " word511"
    assert tokenizer.decode([vocabulary - 1, 8191]) in ("", " word511")


# -- what it says ----------------------------------------------------------------------------------------------------


@functools.cache
def reply(folder: Path, mode: str, seed: int, steps: int = 50) -> str:
    """A letter for each item: t a token, D the end of the text, > the start of sound, a a frame, E the end of sound.

    Behind them stands # where the reply ended by itself.
    """
    from liquid_audio import ChatState

    model, processor = stock(folder)
    chat = ChatState(processor, dtype=torch.float32)
    chat.new_turn("user")
    chat.add_audio(torch.randn(1, 16_000, generator=torch.Generator().manual_seed(seed)) * 0.1, 16_000)
    chat.end_turn()
    chat.new_turn("assistant")
    items = list(getattr(model, f"generate_{mode}")(**chat, max_new_tokens=steps))
    return "".join(letter(item) for item in items) + "#" * (len(items) < steps)


def letter(item: Tensor) -> str:
    if item.numel() > 1:
        return "E" if item[0] == 2048 else "a"
    return {CONTROL_IDS["<|text_end|>"]: "D", CONTROL_IDS["<|audio_start|>"]: ">"}.get(int(item), "t")


def test_interleaved_replies_go_through_every_transition() -> None:
    replies = [reply(tiny_checkpoint(seed=seed), "interleaved", clip) for seed in range(3) for clip in range(2)]
    together = " ".join(replies)
    for transition in ("ta", "aaaaaaaaaaaat", "Da", "aE", "Et", "#"):
        assert transition in together, (transition, replies)


def test_sequential_replies_go_through_every_transition() -> None:
    replies = [reply(tiny_checkpoint(seed=seed), "sequential", clip) for seed in range(3) for clip in range(2)]
    together = " ".join(replies)
    for transition in ("tt", ">a", "aE", "Et", "#"):
        assert transition in together, (transition, replies)


def test_replies_depend_on_what_was_said() -> None:
    assert reply(tiny_checkpoint(seed=2), "interleaved", 0) != reply(tiny_checkpoint(seed=2), "interleaved", 1)


def test_the_detokenizer_says_something() -> None:
    wave = stock(tiny_checkpoint()).processor.decode(torch.randint(0, 2048, (1, 8, 10)))
    assert wave.shape == (1, 10 * 1920)
    assert 0.001 < wave.std() < 1


def test_a_small_mimi_says_something() -> None:
    with small_mimi():
        mimi = stock(tiny_checkpoint(mimi=True)).processor.mimi
    with torch.no_grad():
        wave = mimi.decode(torch.randint(0, 2048, (1, 8, 10)))
    assert wave.shape == (1, 1, 10 * 1920)
    assert wave.std() > 0.001


def test_a_cached_checkpoint_is_made_once() -> None:
    folder = cached_checkpoint("tiny", seed=0, text_run=6, audio_run=12, mimi=False)
    assert folder == tiny_checkpoint()
    assert sorted(file.name for file in folder.iterdir() if file.is_file()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
