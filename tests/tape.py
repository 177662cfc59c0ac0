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
    made: Any

    def tensors(self) -> Iterator[tuple[Tensor, bool]]:
        """What it made, and whether that is memory of its own."""
        given = {one.untyped_storage().data_ptr() for one in tensors_in((self.arguments, self.options))}
        aliases = any(returned.alias_info is not None for returned in self.function._schema.returns)
        for tensor in tensors_in(self.made):
            yield tensor, not aliases and tensor.untyped_storage().data_ptr() not in given

    def again(self) -> None:
        with torch.no_grad():
            made = self.function(*self.arguments, **self.options)
        for (before, own), now in zip(self.tensors(), tensors_in(made), strict=True):
            if own:
                before.copy_(now)


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
        self.operations.append(Operation(func, args, options, made))
        return made

    def rewind(self) -> None:
        """Undo what was written to memory that outlives the recording."""
        for tensor, before in reversed(self._before):
            tensor.copy_(before)
        self._before.clear()

    def replay(self) -> None:
        for operation in self.operations:
            operation.again()

    def scramble(self) -> None:
        """Somebody else computes in this memory."""
        for operation in self.operations:
            for tensor, own in operation.tensors():
                if own:
                    tensor.fill_(torch.nan if tensor.is_floating_point() or tensor.is_complex() else 1)


class TapeRecorder:
    """Records on a CPU."""

    def __init__(self) -> None:
        self.tapes: list[Tape] = []
        self.rehearsals = 0

    def rehearse[Result: Outputs](self, work: Callable[[], Result]) -> Result:
        self.rehearsals += 1
        return work()

    def record(self, work: Callable[[], Outputs]) -> Recording:
        tape = Tape()
        with tape:
            outputs = work()
        tape.rewind()
        tape.scramble()
        self.tapes.append(tape)
        return Recording(lambda: self._replay(tape), outputs)

    def pool_bytes(self) -> int:
        return max((sum(tensor.nbytes for tensor in pool(tape)) for tape in self.tapes), default=0)

    def _replay(self, tape: Tape) -> None:
        for other in self.tapes:
            other.scramble()
        tape.replay()


def pool(tape: Tape) -> Iterator[Tensor]:
    return (tensor for operation in tape.operations for tensor, own in operation.tensors() if own)


def written(function: OpOverload, arguments: tuple[Any, ...], options: dict[str, Any]) -> list[Tensor]:
    described = function._schema.arguments
    given = [*zip(described, arguments, strict=False), *((one, options.get(one.name)) for one in described)]
    return tensors_in([value for one, value in given if one.alias_info is not None and one.alias_info.is_write])


def tensors_in(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
