"""Opening a checkpoint: what is read, and what is said of one that is incomplete, damaged or another model's."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from deployments.engine.alternation import ControlTokens
from deployments.engine.checkpoint import MIMI_FILE, WANTED, open_checkpoint, tell_licence
from deployments.engine.random_checkpoint import CONTROL_IDS
from routing.errors import ModelError
from tests.tiny_checkpoint import tiny_checkpoint

pytestmark = pytest.mark.engine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint whose files may be replaced: they are links."""
    copy = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint(), copy, copy_function=os.symlink)
    return copy


def replace(file: Path, content: bytes) -> None:
    file.unlink()
    file.write_bytes(content)


def change(file: Path, **keys: Any) -> None:
    replace(file, json.dumps(json.loads(file.read_text()) | keys).encode())


def refusal(name: Path | str, **options: Any) -> str:
    with pytest.raises(ModelError) as error:
        open_checkpoint(name, **options)
    return str(error.value)


# -- what is read ----------------------------------------------------------------------------------------------------


def test_everything_comes_from_the_checkpoint_itself() -> None:
    checkpoint = open_checkpoint(tiny_checkpoint(text_run=6, audio_run=9))
    assert (checkpoint.shape.hidden, checkpoint.shape.text_run, checkpoint.shape.audio_run) == (64, 6, 9)
    assert checkpoint.controls == ControlTokens(end_of_turn=7, audio_start=128, text_end=130, end_of_audio=2048)
    assert checkpoint.audio_vocabulary == 2049
    assert checkpoint.tokenizer.encode("<|im_start|>", add_special_tokens=False).ids == [CONTROL_IDS["<|im_start|>"]]
    assert checkpoint.config["codebooks"] == 8
    assert checkpoint.detokenizer_folder == checkpoint.folder / "audio_detokenizer"
    assert checkpoint.mimi_file is None


def test_a_folder_may_be_given_as_text() -> None:
    assert open_checkpoint(str(tiny_checkpoint())).folder == tiny_checkpoint()


def test_the_mimi_file_is_found(folder: Path) -> None:
    (folder / MIMI_FILE).touch()
    shutil.rmtree(folder / "audio_detokenizer")
    checkpoint = open_checkpoint(folder)
    assert checkpoint.mimi_file == folder / MIMI_FILE
    assert checkpoint.detokenizer_folder is None


def test_a_part_of_the_tensors_is_read_by_its_prefix() -> None:
    checkpoint = open_checkpoint(tiny_checkpoint())
    whole = load_file(checkpoint.folder / "model.safetensors")
    part = checkpoint.tensors("conformer.")
    assert {f"conformer.{name}" for name in part} == {name for name in whole if name.startswith("conformer.")}
    assert all(torch.equal(tensor, whole[f"conformer.{name}"]) for name, tensor in part.items())
    assert checkpoint.tensors().keys() == whole.keys()


def test_only_floating_point_is_cast() -> None:
    tensors = open_checkpoint(tiny_checkpoint()).tensors("conformer.layers.0.conv.batch_norm.", dtype=torch.bfloat16)
    assert tensors["running_mean"].dtype == torch.bfloat16
    assert tensors["num_batches_tracked"].dtype == torch.int64


def test_a_part_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"expected tensors named vocoder\.\*, found none"):
        open_checkpoint(tiny_checkpoint()).tensors("vocoder.")


def test_tensors_may_be_spread_over_several_files(folder: Path) -> None:
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = {name: f"model-0000{1 + (name > 'd')}-of-00002.safetensors" for name in whole}
    for file in set(files.values()):
        save_file({name: tensor for name, tensor in whole.items() if files[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    assert open_checkpoint(folder).tensors().keys() == whole.keys()
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "missing: model-00002-of-00002.safetensors" in refusal(folder)


def test_control_tokens_are_known_by_name_not_by_number(folder: Path) -> None:
    definition = json.loads((folder / "tokenizer.json").read_text())
    moved = {7: 300, 300: 7}
    vocabulary = definition["model"]["vocab"]
    definition["model"]["vocab"] = {name: moved.get(number, number) for name, number in vocabulary.items()}
    for token in definition["added_tokens"]:
        token["id"] = moved.get(token["id"], token["id"])
    replace(folder / "tokenizer.json", json.dumps(definition).encode())
    assert open_checkpoint(folder).controls.end_of_turn == 300


def test_the_size_of_the_codebooks_is_that_of_the_tensors(folder: Path) -> None:
    whole = load_file(folder / "model.safetensors")
    for name, tensor in whole.items():
        if name.startswith("depth_embeddings.") and tensor.ndim == 2:
            whole[name] = tensor[:1025].clone()
        elif name == "audio_embedding.embedding.weight":
            whole[name] = tensor[: 8 * 1025].clone()
    (folder / "model.safetensors").unlink()
    save_file(whole, folder / "model.safetensors")
    assert open_checkpoint(folder).controls.end_of_audio == 1024


@pytest.mark.weights
def test_a_released_checkpoint_is_opened() -> None:
    checkpoint = open_checkpoint(os.environ["ANTIPHON_LFM2_CHECKPOINT"])
    assert checkpoint.shape.kv_bytes_per_position(itemsize=2) == 12 * 1024
    assert checkpoint.controls == ControlTokens(end_of_turn=7, audio_start=128, text_end=130, end_of_audio=2048)
    assert checkpoint.detokenizer_folder or checkpoint.mimi_file
    assert len(checkpoint.places) == 931


# -- what is refused -------------------------------------------------------------------------------------------------


def test_an_empty_folder(tmp_path: Path) -> None:
    message = refusal(tmp_path)
    assert "expected the files config.json, model.safetensors, tokenizer.json" in message
    assert "missing: config.json, model.safetensors, tokenizer.json; found: nothing" in message


def test_a_folder_of_another_kind_of_checkpoint(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    assert "missing: tokenizer.json; found: audio_detokenizer, config.json, model.safetensors" in refusal(folder)


def test_the_config_of_another_model(folder: Path) -> None:
    replace(folder / "config.json", json.dumps({"model_type": "llama", "hidden_size": 4096}).encode())
    assert "not that of an LFM2-Audio model: missing keys: architectures" in refusal(folder)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b"[]"])
def test_a_config_that_is_none(folder: Path, content: bytes) -> None:
    replace(folder / "config.json", content)
    assert "config.json: expected " in refusal(folder)


def test_a_file_of_weights_that_was_cut_short(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    replace(folder / "model.safetensors", whole[: len(whole) // 2])
    assert f"model.safetensors: expected a whole safetensors file, found {len(whole) // 2} bytes" in refusal(folder)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"\xff" * 64])
def test_a_file_of_weights_that_is_none(folder: Path, content: bytes) -> None:
    replace(folder / "model.safetensors", content)
    assert f"expected a whole safetensors file, found {len(content)} bytes that are none" in refusal(folder)


def test_the_weights_of_another_model(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    save_file({"model.embed_tokens.weight": torch.zeros(8, 8)}, folder / "model.safetensors")
    assert "expected the tensor depth_embeddings.0.embedding.weight; found tensors of: model" in refusal(folder)


def test_weights_that_do_not_fit_the_config(folder: Path) -> None:
    change(folder / "config.json", depthformer={"layers": 2, "dim": 128, "tie": True})
    assert "expected depth_linear.weight of shape (1024, 64) by config.json, found (512, 64)" in refusal(folder)


def test_fewer_layers_than_the_config_tells_of(folder: Path) -> None:
    change(folder / "config.json", depthformer={"layers": 3, "dim": 64, "tie": True})
    assert "expected the tensor depthformer.layers.2.operator.out_proj.weight" in refusal(folder)


def test_a_tokenizer_that_is_none(folder: Path) -> None:
    replace(folder / "tokenizer.json", b"{}")
    assert "tokenizer.json: expected the definition of a tokenizer" in refusal(folder)


def test_a_tokenizer_without_the_control_tokens(folder: Path) -> None:
    content = (folder / "tokenizer.json").read_text().replace("<|audio_start|>", "<|sound|>")
    replace(folder / "tokenizer.json", content.encode())
    assert "expected the token <|audio_start|>, found none of that name" in refusal(folder)


def test_a_detokenizer_without_weights(folder: Path) -> None:
    (folder / "audio_detokenizer" / "model.safetensors").unlink()
    assert "expected config.json, model.safetensors; missing: model.safetensors; found: config.json" in refusal(folder)


# -- where it is looked for ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nowhere", "no/where/at/all", "/no/where", "a b/c", "../x", ""])
def test_neither_a_folder_nor_a_hub_id(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "expected a folder or a hub id" in refusal(name) or "missing: config.json" in refusal(name)


def test_a_path_is_never_taken_for_a_hub_id() -> None:
    assert "no/where is neither" in refusal(Path("no/where"))


def test_a_folder_has_no_revision() -> None:
    assert "expected no revision with a local folder, got main" in refusal(tiny_checkpoint(), revision="main")


def test_a_hub_id_is_downloaded_and_its_licence_told_once(caplog: pytest.LogCaptureFixture) -> None:
    asked = []

    def download(hub_id: str, revision: str | None) -> Path:
        asked.append((hub_id, revision))
        return tiny_checkpoint()

    tell_licence.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            open_checkpoint("Somebody/LFM2-Audio", revision="v2", download=download)
    assert asked == [("Somebody/LFM2-Audio", "v2")] * 2
    assert [record.message.partition(" is ")[0] for record in caplog.records] == ["Somebody/LFM2-Audio"]
    assert "LFM Open License" in caplog.text


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    message = refusal("somebody/nothing", revision="v2")
    assert "expected the folder somebody/nothing here, or somebody/nothing at revision v2 on the hub" in message


def test_a_download_takes_what_a_checkpoint_has() -> None:
    folder = tiny_checkpoint(mimi=True)
    names = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]
    assert all(any(name.match(pattern) for pattern in WANTED) for name in names)
