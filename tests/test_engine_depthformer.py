"""The codes of a frame are those of the released model, and a frame that went wrong says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from deployments.engine.checkpoint import open_checkpoint
from deployments.engine.depthformer import Depthformer
from deployments.engine.sampling import Choice, Sampler
from tests.tiny_checkpoint import tiny_checkpoint
from tests.tiny_model import CODEBOOKS, greedy, random, sampled, stock_model, tiny_model

pytestmark = [pytest.mark.engine, pytest.mark.timeout(60)]  # the package is read in by the first of them


@torch.inference_mode()
@pytest.mark.parametrize("seed", range(3))
def test_frames_are_those_of_the_released_model(seed: int) -> None:
    folder = tiny_checkpoint(seed=seed, audio_run=9 if seed == 1 else 12)
    hidden = random(16, 64, seed=seed)
    codes = tiny_model(folder).depthformer(hidden, Sampler(greedy(16)))
    expected = [stock_model(folder)._sample_audio_frame(row) for row in hidden]
    assert torch.equal(codes, torch.stack(expected))


@torch.inference_mode()
def test_a_frame_alone_is_the_frame_in_a_batch() -> None:
    hidden, choice = random(16, 64), sampled(16)
    together = tiny_model().depthformer(hidden, Sampler(choice))
    for row in range(16):
        alone = replace(choice, **{name: getattr(choice, name)[[row]] for name in ("temperature", "top_k", "noise")})
        assert torch.equal(tiny_model().depthformer(hidden[[row]], Sampler(alone))[0], together[row])
    assert len(together.unique()) > 50


@torch.inference_mode()
@pytest.mark.parametrize("choice", [greedy(4), sampled(4)])
def test_a_frame_that_is_not_finite_says_so_in_its_first_code(choice: Choice) -> None:
    hidden = random(4, 64)
    hidden[2, 5] = float("nan")
    codes = tiny_model().depthformer(hidden, Sampler(choice))
    assert codes[:, 0].eq(-1).tolist() == [False, False, True, False]
    assert torch.all((codes[[0, 1, 3]] >= 0) & (codes[[0, 1, 3]] <= 2048))


def changed_depthformer(name: str, tensor: Tensor) -> Depthformer:
    checkpoint = open_checkpoint(tiny_checkpoint())

    def tensors_of(prefix: str) -> dict[str, Tensor]:
        tensors = checkpoint.tensors(prefix)
        return {key: tensor if prefix + key == name else value for key, value in tensors.items()}

    return Depthformer(tensors_of, layers=checkpoint.shape.depth_layers, codebooks=CODEBOOKS)


@torch.inference_mode()
def test_the_last_code_is_looked_at_as_closely_as_the_first() -> None:
    broken = torch.full((64,), float("inf"))
    depthformer = changed_depthformer(f"depth_embeddings.{CODEBOOKS - 1}.embedding_norm.weight", broken)
    assert depthformer(random(3, 64), Sampler(greedy(3)))[:, 0].tolist() == [-1] * 3


def test_heads_that_are_the_embeddings_are_kept_once() -> None:
    depthformer = tiny_model().depthformer
    for number in range(CODEBOOKS):
        head = depthformer.get_parameter(f"logits.{number}.weight")
        assert head.data_ptr() == depthformer.get_parameter(f"embeddings.{number}").data_ptr()


@torch.inference_mode()
def test_heads_of_their_own_are_used() -> None:
    weight = torch.zeros(2049, 64)
    weight[77] = 1.0
    depthformer = changed_depthformer("depth_embeddings.3.to_logits.weight", weight)
    assert set(depthformer(random(32, 64), Sampler(greedy(32)))[:, 3].tolist()) == {0, 77}
