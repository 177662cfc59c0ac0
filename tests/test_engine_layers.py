"""The parts that both transformers are built from."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deployments.engine.layers import Projection, rotations
from tests.tiny_model import random

pytestmark = pytest.mark.engine


class NotPlain(torch.Tensor):
    """Weights of another kind, as quantisation puts in the place of plain ones."""


@torch.inference_mode()
def test_a_projection_adds_to_what_it_is_given() -> None:
    weight, bias, x, residual = random(6, 4), random(6, seed=1), random(3, 4, seed=2), random(3, 6, seed=3)
    torch.testing.assert_close(Projection(weight).onto(residual, x), residual + x @ weight.t())
    torch.testing.assert_close(Projection(weight, bias).onto(residual, x), residual + x @ weight.t() + bias)
    other = Projection(weight)
    other.weight = nn.Parameter(weight.as_subclass(NotPlain), requires_grad=False)
    torch.testing.assert_close(other.onto(residual, x).as_subclass(torch.Tensor), residual + x @ weight.t())


def test_rotations_turn_pairs_by_their_position() -> None:
    table = rotations(200, 8, 10_000.0, torch.device("cpu"))
    assert table.shape == (200, 4)
    torch.testing.assert_close(table.abs(), torch.ones(200, 4))
    torch.testing.assert_close(table[150, 1] / table[147, 1], torch.polar(torch.tensor(1.0), torch.tensor(0.3)))
