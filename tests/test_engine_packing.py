"""Packed weights come to the same results, for any number of rows, and only where there are such weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deployments.engine.layers import Projection
from deployments.engine.packing import HAS_ONEDNN, PackedProjection, is_offered, pack
from deployments.engine.quantisation import Int8Projection
from tests.tiny_model import random, tiny_model

pytestmark = [pytest.mark.engine, pytest.mark.skipif(not HAS_ONEDNN, reason="needs oneDNN on x86-64")]


@torch.inference_mode()
@pytest.mark.parametrize("rows", [1, 2, 16, 300])
@pytest.mark.parametrize("biased", [False, True])
def test_a_packed_projection_is_the_plain_one(rows: int, biased: bool) -> None:
    plain = Projection(random(24, 40), random(24, seed=1) if biased else None)
    holder = nn.Sequential(plain)
    pack(holder)
    assert isinstance(holder[0], PackedProjection)
    x, residual = random(rows, 80, seed=2)[:, 40:], random(rows, 24, seed=3)
    torch.testing.assert_close(holder[0](x), plain(x))
    torch.testing.assert_close(holder[0].onto(residual, x), plain.onto(residual, x))


def test_all_of_a_model_is_packed_and_it_keeps_what_it_looks_up() -> None:
    model = tiny_model(packed=True)
    assert not any(isinstance(module, Projection) for module in model.modules())
    assert torch.equal(model.text_embeddings, tiny_model().text_embeddings)


def test_weights_of_another_kind_stay_as_they_are() -> None:
    quantised = Int8Projection(torch.ones(4, 8, dtype=torch.int8), torch.ones(4), None)
    holder = nn.Sequential(Projection(torch.ones(4, 8, dtype=torch.float64)), quantised)
    pack(holder)
    assert isinstance(holder[0], Projection)
    assert holder[1] is quantised
    assert not is_offered(Projection(torch.ones(4, 8, device="meta")))
