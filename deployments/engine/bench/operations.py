"""How many operations a piece of work launches, and how often it makes the host wait for the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Views that their operators do not declare as such: no data is moved.
UNDECLARED_VIEWS = frozenset({"_unsafe_view"})
# Operators whose result, or the shape of it, the host has to see.
WAITING_OPERATORS = frozenset({"_local_scalar_dense", "nonzero", "masked_select", "equal"})
MASKED_OPERATORS = frozenset({"index", "index_put", "index_put_"})  # when they select by a mask
# Methods that bring a whole tensor to the host; below them no operator is seen on a CPU.
WAITING_METHODS = frozenset({"tolist", "numpy", "__array__"})


class OperationCounter:
    """Around a piece of work in the calling thread; it may be read while the work goes on.

    ``launched`` counts operators that compute or copy, views left out; ``host_syncs`` how often the host needed a
    result to go on.
    """

    def __init__(self) -> None:
        self._operators = _Operators()
        self._methods = _Methods()
        self._modes = ExitStack()

    @property
    def launched(self) -> int:
        return self._operators.launched

    @property
    def host_syncs(self) -> int:
        return self._operators.waiting + self._methods.waiting

    def __enter__(self) -> Self:
        self._modes.enter_context(self._methods)
        self._modes.enter_context(self._operators)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._modes.close()


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own hook for subclasses
    """Counts operators. Those made of others are taken apart: else the mode of autograd would matter."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.launched = 0
        self.waiting = 0

    def __torch_dispatch__(
        self,
        func: OpOverload[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        with self:
            result = func.decompose(*args, **kwargs)
        if result is NotImplemented:
            self.launched += not is_view(func)
            self.waiting += waits(func, args)
            result = func(*args, **kwargs)
        return result


class _Methods(TorchFunctionMode):
    """Counts methods that bring a tensor to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.waiting += getattr(func, "__name__", "") in WAITING_METHODS
        return func(*args, **(kwargs or {}))


def is_view(func: OpOverload[..., Any]) -> bool:
    return bool(func.is_view) or _name(func) in UNDECLARED_VIEWS


def waits(func: OpOverload[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether the host has to see a value: a number that is asked for, or how many a mask selects."""
    name = _name(func)
    return name in WAITING_OPERATORS or (name in MASKED_OPERATORS and _selects_by_mask(args[1]))


def _name(func: OpOverload[..., Any]) -> str:
    return str(func).removeprefix("aten.").partition(".")[0]


def _selects_by_mask(indices: Sequence[Tensor | None]) -> bool:
    return any(index is not None and index.dtype == torch.bool for index in indices)
