"""Tokens come as often as their probabilities say, and each row's token is its own affair."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deployments.engine.sampling import Choice, Sampler, choose
from tests.tiny_model import integers, random

pytestmark = pytest.mark.engine

DRAWS = 10_000
NAN, INFINITY = float("nan"), float("inf")


def choice(temperatures: list[float], top_ks: list[int], noise: Tensor) -> Choice:
    return Choice(
        torch.tensor(temperatures),
        integers(*top_ks),
        noise,
        all_greedy=not any(temperatures),
        maximum_top_k=max(top_ks),
    )


def shares(logits: list[float], temperature: float, top_k: int) -> list[float]:
    """How often each token comes when the noise takes every value equally often."""
    noise = (torch.arange(DRAWS) + 0.5) / DRAWS
    tokens = choose(
        torch.tensor(logits).expand(DRAWS, -1), choice([temperature] * DRAWS, [top_k] * DRAWS, noise[:, None])
    )
    return [float(share) / DRAWS for share in tokens.bincount(minlength=len(logits))]


def probabilities(logits: list[float], temperature: float, kept: list[int]) -> list[float]:
    powers = np.where(np.isin(range(len(logits)), kept), np.exp(np.array(logits) / temperature), 0)
    return [float(share) for share in powers / powers.sum()]


@pytest.mark.parametrize(
    ("logits", "temperature", "top_k", "kept"),
    [
        ([0.5, 2.0, -1.0, 1.9], 1.0, 0, [0, 1, 2, 3]),
        ([0.5, 2.0, -1.0, 1.9], 0.3, 0, [0, 1, 2, 3]),
        ([0.5, 2.0, -1.0, 1.9], 1.0, 2, [1, 3]),
        ([0.5, 2.0, -1.0, 1.9], 0.7, 9, [0, 1, 2, 3]),
        ([2.0, 3.0, 2.0, 1.0], 1.0, 2, [0, 1, 2]),  # who is level with the last one kept is kept
        ([2.0, 3.0, 3.0, 1.0], 1.5, 2, [1, 2]),
    ],
)
def test_tokens_come_as_often_as_they_should(
    logits: list[float], temperature: float, top_k: int, kept: list[int]
) -> None:
    expected = probabilities(logits, temperature, kept)
    assert shares(logits, temperature, top_k) == pytest.approx(expected, abs=2 / DRAWS)


@pytest.mark.parametrize(("temperature", "top_k"), [(0.0, 0), (-1.0, 0), (0.0, 3), (1.0, 1)])
def test_the_likeliest_is_taken_and_of_several_the_first(temperature: float, top_k: int) -> None:
    assert shares([1.0, 3.0, 2.0, 3.0], temperature, top_k)[1] == 1
    assert shares([1.0, 3.0, 2.0, 2.9999998], temperature, top_k)[1] == 1


@given(st.integers(0, 2**32))
def test_nobody_notices_their_neighbours(seed: int) -> None:
    """Greedy ones, limited and unlimited ones in one batch choose as each would alone."""
    logits, chance = random(6, 50, seed=seed) * 4, torch.Generator().manual_seed(seed)
    noise = torch.rand(6, 1, generator=chance).clamp(min=1e-7)
    temperatures, top_ks = [0.0, 1.0, 0.7, 1.0, 0.0, 2.0], [0, 4, 0, 1, 4, 60]
    together = choose(logits, choice(temperatures, top_ks, noise))
    alone = [choose(logits[[n]], choice([temperatures[n]], [top_ks[n]], noise[[n]])) for n in range(6)]
    assert together.tolist() == torch.cat(alone).tolist()
    assert together[[0, 3, 4]].tolist() == logits.argmax(-1)[[0, 3, 4]].tolist()


@pytest.mark.parametrize("noise", [1e-9, 1 - 2**-24])
def test_what_cannot_be_is_not_chosen_by_the_most_extreme_noise(noise: float) -> None:
    logits = random(64, 300, seed=3) * 8
    logits[:, [0, -1]] = -INFINITY
    for top_k in (0, 5):
        tokens = choose(logits, choice([1.0] * 64, [top_k] * 64, torch.full((64, 1), noise)))
        assert torch.all((tokens > 0) & (tokens < 299))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("top_k", [0, 2])
def test_logits_that_are_no_numbers_cost_their_own_row_only(temperature: float, top_k: int) -> None:
    logits = torch.tensor([[0.0, 9.0, 0.0], [0.0, NAN, 9.0], [INFINITY, 0.0, 9.0], [NAN] * 3, [0.0, 0.0, 9.0]])
    tokens = choose(logits, choice([temperature] * 5, [top_k] * 5, torch.full((5, 1), 0.5)))
    assert tokens.tolist() == [1, -1, -1, -1, 2]


def test_each_token_of_a_frame_has_noise_of_its_own() -> None:
    noise = torch.tensor([[0.1, 0.5, 0.9]])
    sampler = Sampler(choice([1.0], [0], noise))
    assert [sampler.draw(torch.zeros(1, 10), column).tokens.item() for column in range(3)] == [0, 4, 8]
