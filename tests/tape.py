"""A device that records, for tests on a machine without one: it behaves as CUDA graphs do where that can go wrong.

What is recorded is noted down and not done; a replay does the same operations on the same memory again, whatever the
Python code around them would decide by now; the memory that recordings compute in is shared by all of them; and what
would make a GPU wait for the host is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from deployments.engine.graphs import Outputs, Recording

aten = torch.ops.aten
COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
HOST_WAITS = {  # or the host has numbers that the device lacks, and a recording would hold them for good
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten.lift_fresh.default,
}


class Operation(NamedTuple):
    function: OpOverload
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    places: tuple[Tensor | None, ...]  # for all that it makes: memory of its own, or none where it is a view

    def again(self) -> None:
        with torch.no_grad():
            made = self.function(*self.arguments, **self.options)
        for place, tensor in zip(self.places, tensors_in(made), strict=True):
            if place is not None:
                place.copy_(tensor)


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The operations of one recording."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self._before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if func in HOST_WAITS:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        if func.has_kernel_for_dispatch_key(COMPOSITE):  # one that is made of others, which are asked for in its place
            with self:
                return func._op_dk(COMPOSITE, *args, **options)
        self._before += [(one, one.clone()) for one in written(func, args, options)]
        made = func(*args, **options)
        self.operations.append(Operation(func, args, options, places(func, (args, options), made)))
        return made

    def rewind(self) -> None:
        """Undo what was written to memory that outlives the recording."""
        for tensor, before in reversed(self._before):
            tensor.copy_(before)
        self._before.clear()

    def replay(self) -> None:
        for operation in self.operations:
            operation.again()

    def pool(self) -> Iterator[Tensor]:
        return (place for operation in self.operations for place in operation.places if place is not None)

    def scramble(self) -> None:
        """Somebody else computes in this memory."""
        for place in self.pool():
            place.fill_(torch.nan if place.is_floating_point() or place.is_complex() else 1)


class TapeRecorder:
    """Records on a CPU."""

    def __init__(self) -> None:
        self.tapes: list[Tape] = []
        self.rehearsals = 0
        self._latest: Tape | None = None

    def rehearse[Result: Outputs](self, work: Callable[[], Result]) -> Result:
        self.rehearsals += 1
        return work()

    def record(self, work: Callable[[], Outputs]) -> Recording:
        tape = Tape()
        with tape:
            outputs = work()
        tape.rewind()
        self._compute_in_pool(tape)
        self.tapes.append(tape)
        return Recording(lambda: self._replay(tape), outputs)

    def pool_bytes(self) -> int:
        return max((sum(place.nbytes for place in tape.pool()) for tape in self.tapes), default=0)

    def _replay(self, tape: Tape) -> None:
        self._compute_in_pool(tape)
        tape.replay()

    def _compute_in_pool(self, tape: Tape) -> None:
        if self._latest is not None:
            self._latest.scramble()
        self._latest = tape


def written(function: OpOverload, arguments: tuple[Any, ...], options: dict[str, Any]) -> list[Tensor]:
    described = function._schema.arguments
    given = [*zip(described, arguments, strict=False), *((one, options.get(one.name)) for one in described)]
    return tensors_in([value for one, value in given if one.alias_info is not None and one.alias_info.is_write])


def places(function: OpOverload, given: Any, made: Any) -> tuple[Tensor | None, ...]:
    memory = {one.untyped_storage().data_ptr() for one in tensors_in(given)}
    is_view = any(returned.alias_info is not None for returned in function._schema.returns)
    return tuple(None if is_view or one.untyped_storage().data_ptr() in memory else one for one in tensors_in(made))


def tensors_in(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
