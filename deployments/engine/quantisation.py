"""Weights of fewer bits: less memory to read in each step, and that is what a step waits for.

Quantised are the projections of the backbone's and of the depthformer's layers, by torchao. Embeddings, heads, norms
and whatever makes sound of codes stay as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from deployments.engine.layers import Projection
from deployments.engine.speech_model import SpeechModel
from routing.errors import SettingsError

GROUPS = (128, 64, 32)  # inputs that share a scale in 4 bits; the largest that divides a projection's width is taken
TENSOR_CORES = (8, 0)  # compute capability that the kernels of 4 bits need
FEW_ROWS = 64  # up to here a CPU is faster with the small numbers than with larger ones made of them
LANES = 16

BACKBONE = ("full", "int8")
DEPTHFORMER = ("full", "int8", "int4")


def quantise(
    model: SpeechModel, *, backbone: Literal["full", "int8"], depthformer: Literal["full", "int8", "int4"]
) -> None:
    """Replace the weights of a model, in place and one projection at a time.

    ``int8`` is one scale for each output; it runs everywhere. ``int4`` is one scale and one offset for each group of
    inputs; torchao offers it in bfloat16, on CPUs and on GPUs from compute capability 8.0 on.

    Raises:
        SettingsError: a value is unknown, or is not offered for the model's device, dtype or widths.
    """
    check("backbone_weights", backbone, BACKBONE)
    check("depthformer_weights", depthformer, DEPTHFORMER)
    if depthformer == "int4":
        check_int4(model)
    if backbone == "int8":
        to_int8(model.backbone.layers)
    match depthformer:
        case "int8":
            to_int8(model.depthformer.layers)
        case "int4":
            to_int4(model.depthformer.layers)


def check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SettingsError(f"{name}: expected one of {', '.join(known)}; got {value}")


class Place(NamedTuple):
    """A projection and where it is attached."""

    parent: nn.Module
    name: str
    projection: Projection


def places(part: nn.Module) -> Iterator[Place]:
    """All projections of a part of the model, listed before the first one is replaced."""
    found = [(parent, name, child) for parent in part.modules() for name, child in parent.named_children()]
    return (Place(parent, name, child) for parent, name, child in found if isinstance(child, Projection))


# -- 8 bits ----------------------------------------------------------------------------------------------------------


class Int8Projection(nn.Module):
    """A projection whose weight is int8 [out, in], with the ``scales`` [out] that its outputs are multiplied by.

    A CPU multiplies a few bfloat16 rows by the small numbers as they are. Otherwise the weight is made large again on
    the way, which saves memory, and saves time only where ``torch.compile`` makes one kernel of both.
    """

    def __init__(self, weight: Tensor, scales: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Buffer(weight)
        self.scales = nn.Buffer(scales)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Rows [N, in] to [N, out]."""
        product = self._product(x)
        return product if self.bias is None else product + self.bias

    def onto(self, residual: Tensor, x: Tensor) -> Tensor:
        """``residual`` + the projection of ``x``."""
        return residual + self.forward(x)

    def _product(self, x: Tensor) -> Tensor:
        if self._suits_few_rows(x):
            return few_rows_product(x.contiguous(), self.weight, self.scales)
        product: Tensor = torch.mm(x, self.weight.to(x.dtype).t()) * self.scales
        return product

    def _suits_few_rows(self, x: Tensor) -> bool:
        """Known from shapes alone. The kernel reads whole lanes from aligned places: it faults at other widths."""
        few = x.shape[1] % LANES == 0 and len(x) <= FEW_ROWS
        return few and x.device.type == "cpu" and x.dtype == torch.bfloat16


# Torch has no public name for it; rows [N, in], weight int8 [out, in] and scales [out] to [N, out].
few_rows_product: Callable[[Tensor, Tensor, Tensor], Tensor] = torch.ops.aten._weight_int8pack_mm  # noqa: SLF001


def to_int8(part: nn.Module) -> None:
    config = torchao().Int8WeightOnlyConfig(set_inductor_config=False)
    for parent, name, projection in places(part):
        torchao().quantize_(projection, config)
        weight: Any = projection.weight  # of torchao's own kind
        scales = weight.scale.flatten().to(weight.dtype)
        setattr(parent, name, Int8Projection(weight.qdata.contiguous(), scales, projection.bias))


# -- 4 bits ----------------------------------------------------------------------------------------------------------


def check_int4(model: SpeechModel) -> None:
    device, dtype = model.device, model.dtype
    offered = "4 bits are offered in bfloat16, on a CPU or on a GPU of compute capability 8.0 or more"
    if device.type not in ("cpu", "cuda") or dtype != torch.bfloat16:
        raise SettingsError(f"depthformer_weights: {offered}; the model is {dtype} on {device.type}")
    if device.type == "cuda" and (capability := torch.cuda.get_device_capability(device)) < TENSOR_CORES:
        raise SettingsError(f"depthformer_weights: {offered}; this one has {'.'.join(map(str, capability))}")
    for _, name, projection in places(model.depthformer.layers):
        if group_of(projection) is None:
            raise SettingsError(
                f"depthformer_weights: 4 bits need widths that are multiples of {GROUPS[-1]}; "
                f"{name} has {projection.in_features}"
            )


def group_of(projection: Projection) -> int | None:
    return next((group for group in GROUPS if projection.in_features % group == 0), None)


def to_int4(part: nn.Module) -> None:
    for _, _, projection in places(part):
        torchao().quantize_(projection, int4_config(projection))


def int4_config(projection: Projection) -> Any:
    options = {"group_size": group_of(projection), "set_inductor_config": False}
    if projection.weight.device.type == "cuda":
        return torchao().Int4WeightOnlyConfig(int4_packing_format="tile_packed_to_4d", **options)
    from torchao.prototype.quantization.int4.inference_workflow import PrototypeInt4WeightOnlyConfig

    return PrototypeInt4WeightOnlyConfig(**options)


# -- torchao ---------------------------------------------------------------------------------------------------------


def torchao() -> Any:
    """The package, read in when it is needed: that takes seconds, and complains of its own docstrings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torchao.quantization
    return torchao.quantization


def stored_bytes(module: nn.Module) -> int:
    """Memory of all weights and constants, each counted once."""
    tensors = [part for tensor in (*module.parameters(), *module.buffers()) for part in plain(tensor)]
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def plain(tensor: Tensor) -> Iterator[Tensor]:
    """The tensors that a tensor of torchao's own kind is made of, or itself."""
    if type(tensor) in (Tensor, nn.Parameter):
        yield tensor
        return
    wrapped: Any = tensor
    names, _ = wrapped.__tensor_flatten__()
    for name in names:
        yield from plain(getattr(tensor, name))
