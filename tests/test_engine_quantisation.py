"""A model of fewer bits is smaller by what was computed, says nearly the same, and runs as the full one does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deployments.engine.graphs import StepGraphs
from deployments.engine.layers import Projection
from deployments.engine.quantisation import FEW_ROWS, Int8Projection, places, quantise, stored_bytes, to_int8
from deployments.engine.sampling import Drawn
from deployments.engine.speech_model import SpeechModel
from routing.errors import SettingsError
from tests.engine_steps import Steps, replay_beside_calls
from tests.tape import TapeRecorder, tensors_in
from tests.tiny_checkpoint import tiny_checkpoint

pytestmark = [pytest.mark.engine, pytest.mark.timeout(60)]  # torchao is read in by the first of them

BF16, FP32 = torch.bfloat16, torch.float32
CONTEXT = 32
CPU = torch.device("cpu")


def steps(dtype: torch.dtype) -> Steps:
    return Steps(tiny_checkpoint(), slots=4, dtype=dtype)


# -- what it says ----------------------------------------------------------------------------------------------------


class Prompter:
    """Stands where the sampler does: says given codes, and keeps the logits."""

    def __init__(self, codes: Tensor) -> None:
        self.logits: list[Tensor] = []
        self._codes = codes

    def draw(self, logits: Tensor, column: int = 0) -> Drawn:
        self.logits.append(logits)
        return Drawn(self._codes[:, column], logits[:, 0])


@torch.inference_mode()
def backbone_says(one: Steps) -> Tensor:
    """After a prefill and one step more."""
    kinds = {kind.name: kind for kind in one.kinds(CONTEXT)}
    rows = one.rows(4, 1)
    before = kinds["prefill"].function(*kinds["prefill"].inputs(rows, 1))
    one.state.inputs[:-1] = 1
    after = kinds["decode"].function(rows, torch.full((4,), 6))
    return torch.cat(tensors_in((before, after)))


@torch.inference_mode()
def depthformer_says(one: Steps) -> Tensor:
    chance = torch.Generator().manual_seed(5)
    codes = torch.randint(0, 2048, (4, one.model.shape.codebooks), generator=chance)
    prompter: Any = Prompter(codes)
    one.model.depthformer(torch.randn(4, one.model.shape.hidden, generator=chance).to(one.model.dtype), prompter)
    return torch.cat(prompter.logits)


@pytest.mark.parametrize(
    ("depthformer", "dtype", "error"), [("int8", FP32, 0.03), ("int8", BF16, 0.04), ("int4", BF16, 0.25)]
)
def test_it_says_nearly_the_same(depthformer: Any, dtype: torch.dtype, error: float) -> None:
    full, small = steps(dtype), steps(dtype)
    quantise(small.model, backbone="int8", depthformer=depthformer)
    assert_near(backbone_says(small), backbone_says(full), 0.04)
    assert_near(depthformer_says(small), depthformer_says(full), error)


def assert_near(made: Tensor, expected: Tensor, error: float) -> None:
    made, expected = made.float(), expected.float()
    assert 0 < (made - expected).norm() / expected.norm() < error
    assert functional.cosine_similarity(made.flatten(), expected.flatten(), dim=0) > 1 - error**2


def test_full_changes_nothing() -> None:
    one = steps(FP32)
    before = {name: tensor.data_ptr() for name, tensor in one.model.state_dict().items()}
    quantise(one.model, backbone="full", depthformer="full")
    assert {name: tensor.data_ptr() for name, tensor in one.model.state_dict().items()} == before


@pytest.mark.parametrize("dtype", [FP32, BF16])
@pytest.mark.parametrize("rows", [1, FEW_ROWS, FEW_ROWS + 1])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("width", [40, 48])  # kernels have their favourites
@torch.inference_mode()
def test_a_projection_of_8_bits_is_that_of_the_rounded_weight(
    dtype: torch.dtype, rows: int, biased: bool, width: int
) -> None:
    chance = torch.Generator().manual_seed(rows)
    parts = [torch.randn(size, generator=chance).to(dtype) for size in ((24, width), (24,), (rows, width), (rows, 24))]
    weight, bias, x, residual = parts
    projection = small_projection(weight, bias if biased else None)
    rounded = projection.weight.float() * projection.scales.float()[:, None]
    expected = functional.linear(x.float(), rounded, bias.float() if biased else None)
    assert (rounded - weight.float()).abs().max() <= weight.float().abs().max() / 127 / 2 * 1.02
    tolerance = {FP32: 1e-5, BF16: 3e-2}[dtype]
    torch.testing.assert_close(projection(x).float(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(
        projection.onto(residual, x).float(), residual.float() + expected, rtol=tolerance, atol=tolerance
    )


def small_projection(weight: Tensor, bias: Tensor | None) -> Int8Projection:
    part = nn.ModuleList([Projection(weight, bias)])
    to_int8(part)
    projection = part[0]
    assert isinstance(projection, Int8Projection)
    return projection


# -- what it holds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [FP32, BF16])
def test_memory_falls_as_computed(dtype: torch.dtype) -> None:
    model = steps(dtype).model
    before, saved = stored_bytes(model), 0
    for part in (model.backbone.layers, model.depthformer.layers):
        for _, _, projection in places(part):
            outputs, inputs = projection.weight.shape
            saved += outputs * inputs * (dtype.itemsize - 1) - outputs * dtype.itemsize
    quantise(model, backbone="int8", depthformer="int8")
    assert 0 < saved == before - stored_bytes(model)


def test_4_bits_hold_half_a_byte_for_each_weight() -> None:
    model = steps(BF16).model
    weights = sum(place.projection.weight.numel() for place in places(model.depthformer.layers))
    norms = stored_bytes(model.depthformer.layers) - 2 * weights
    quantise(model, backbone="full", depthformer="int4")
    groups = weights / 32  # of the narrowest projections; each has a scale and an offset of 2 bytes
    assert weights / 2 < stored_bytes(model.depthformer.layers) - norms <= weights / 2 + 4 * groups


def test_whatever_else_it_has_is_left_alone() -> None:
    full, small = steps(FP32).model, steps(FP32).model
    quantise(small, backbone="int8", depthformer="int8")
    kept = {name: tensor for name, tensor in small.state_dict().items() if tensor.dtype == FP32}
    same = {name for name, tensor in full.state_dict().items() if name in kept and torch.equal(tensor, kept[name])}
    changed = {name for name, tensor in small.state_dict().items() if tensor.dtype == torch.int8}
    assert changed == {name for name, _ in full.named_parameters() if is_of_a_projection(full, name)}
    assert full.state_dict().keys() - changed == same
    assert {"text_embeddings", "audio_embeddings", "depthformer.inward.weight"} <= same


def is_of_a_projection(model: SpeechModel, name: str) -> bool:
    owner, _, leaf = name.rpartition(".")
    in_layers = name.startswith(("backbone.layers.", "depthformer.layers."))
    return in_layers and leaf == "weight" and isinstance(model.get_submodule(owner), Projection)


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "depthformer", "complaint"),
    [
        ("int4", "full", "backbone_weights: expected one of full, int8; got int4"),
        ("full", "int2", "depthformer_weights: expected one of full, int8, int4; got int2"),
        ("int8", "int4", "offered in bfloat16, .* the model is torch.float32 on cpu"),
    ],
)
def test_what_is_not_offered_is_refused(backbone: Any, depthformer: Any, complaint: str) -> None:
    model = steps(FP32).model
    with pytest.raises(SettingsError, match=complaint):
        quantise(model, backbone=backbone, depthformer=depthformer)
    assert not any(isinstance(module, Int8Projection) for module in model.modules())


def test_4_bits_need_a_width_that_groups_divide() -> None:
    model = steps(BF16).model
    next(places(model.depthformer.layers)).projection.in_features = 48
    with pytest.raises(SettingsError, match=r"multiples of 32; .* has 48"):
        quantise(model, backbone="int8", depthformer="int4")


# -- how it runs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("depthformer", "dtype"), [("int8", FP32), ("int8", BF16), ("int4", BF16)])
@torch.inference_mode()
def test_its_steps_can_be_recorded(depthformer: Any, dtype: torch.dtype) -> None:
    recorded, called = steps(dtype), steps(dtype)
    for one in (recorded, called):
        quantise(one.model, backbone="int8", depthformer=depthformer)
    replay_beside_calls(StepGraphs(CPU, recorder=TapeRecorder()), recorded, called, batch=2, context=CONTEXT)


@pytest.mark.parametrize(("depthformer", "dtype"), [("int8", FP32), ("int8", BF16), ("int4", BF16)])
@torch.inference_mode()
def test_it_is_traced_as_one_graph(depthformer: Any, dtype: torch.dtype) -> None:
    model = steps(dtype).model
    quantise(model, backbone="int8", depthformer=depthformer)
    layer: Any = model.depthformer.layers[0]
    x = torch.randn(2, model.shape.depth_hidden).to(dtype)
    trace: Callable[..., Any] = torch.compile
    traced = trace(layer.feed_forward.onto, fullgraph=True, backend="eager", dynamic=False)
    assert torch.equal(traced(x, x), layer.feed_forward.onto(x, x))
