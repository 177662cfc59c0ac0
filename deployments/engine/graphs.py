"""Steps of the model recorded once and replayed: on a GPU a step costs one launch then, and not hundreds of them.

A recording has fixed shapes, so the sizes of a step are rounded up to buckets, and there is one recording for each
step kind and bucket. On any other device the same calls run the step as it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor

from routing.errors import InvalidRequest, SettingsError

logger = logging.getLogger(__name__)

WARM_UPS = 2  # calls before a recording: the first one loads kernels and compiles, the second shows that it is done

type Outputs = Tensor | tuple[Tensor, ...]


class Buckets:
    """The sizes that a dimension is rounded up to, so that few shapes occur."""

    def __init__(self, sizes: Iterable[int]) -> None:
        self.sizes = tuple(sorted(set(sizes)))
        if not self.sizes or self.sizes[0] < 1:
            raise SettingsError(f"buckets must be sizes of at least 1, and there must be one; got {self.sizes}")

    @classmethod
    def doubling(cls, first: int, last: int) -> Buckets:
        """``first``, twice that, and so on, and ``last`` itself, whatever it is."""
        if not 1 <= first <= last:
            raise SettingsError(f"expected a first bucket between 1 and the last one, {last}; got {first}")
        doublings = range((last // first).bit_length())
        return cls({*(first << doubling for doubling in doublings), last})

    def __iter__(self) -> Iterator[int]:
        return iter(self.sizes)

    @property
    def last(self) -> int:
        return self.sizes[-1]

    def fit(self, size: int) -> int:
        """The smallest bucket that holds ``size``.

        Raises:
            InvalidRequest: ``size`` is more than the last bucket.
        """
        for bucket in self.sizes:
            if size <= bucket:
                return bucket
        raise InvalidRequest(f"expected at most {self.last}, the largest bucket; got {size}", code="too_large")


class Recording(NamedTuple):
    """Work on a device that can be done again by one call. ``outputs`` lie where each replay writes them."""

    replay: Callable[[], None]
    outputs: Outputs


class Recorder(Protocol):
    """What a device must offer for its work to be recorded."""

    def rehearse[Result: Outputs](self, work: Callable[[], Result]) -> Result:
        """Do the work where recordings are made, in its place among everything else that the device does."""
        ...

    def record(self, work: Callable[[], Outputs]) -> Recording:
        """Note the work down without doing it."""
        ...

    def pool_bytes(self) -> int:
        """Memory that the recordings hold for what they compute with."""
        ...


class CudaRecorder:
    """Records CUDA graphs. They share one pool of memory, because one replay has ended before the next begins."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def rehearse[Result: Outputs](self, work: Callable[[], Result]) -> Result:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            outputs = work()
        current.wait_stream(self._stream)
        return outputs

    def record(self, work: Callable[[], Outputs]) -> Recording:
        graph = torch.cuda.CUDAGraph()
        # Of this thread only, so that other threads may go on allocating memory.
        capture = torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local")
        with torch.cuda.device(self._device), capture:
            outputs = work()
        return Recording(graph.replay, outputs)

    def pool_bytes(self) -> int:
        segments = torch.cuda.memory_snapshot(include_traces=False)  # type: ignore[no-untyped-call]
        return sum(segment["total_size"] for segment in segments if tuple(segment["segment_pool_id"]) == self._pool)


@dataclass(frozen=True, slots=True)
class GraphStatistics:
    """What was recorded, and what it is good for."""

    graphs: int = 0  # recordings that can be replayed
    late: int = 0  # of these, made after the warm-up, while somebody waited
    compiled: int = 0  # steps that went through torch.compile
    replays: int = 0
    calls: int = 0  # steps that ran without a recording
    capture_sec: float = 0.0  # spent on warm-up runs, compiling and recording
    pool_bytes: int = 0  # device memory that the recordings share


class _Step:
    """One recorded step: its static inputs, and the recording that reads them."""

    def __init__(
        self, key: Hashable, recorder: Recorder, function: Callable[..., Outputs], inputs: list[Tensor]
    ) -> None:
        self._key = key
        self._inputs = inputs
        self._expected = shapes(inputs)
        self._recording = recorder.record(lambda: function(*inputs))

    def run(self, inputs: tuple[Tensor, ...]) -> Outputs:
        self._check(inputs)
        for static, given in zip(self._inputs, inputs, strict=True):
            static.copy_(given, non_blocking=True)
        self._recording.replay()
        return own(self._recording.outputs)

    def _check(self, inputs: tuple[Tensor, ...]) -> None:
        """Another shape would be broadcast into place, and nobody would notice."""
        if (came := shapes(inputs)) != self._expected:
            raise ValueError(f"step {self._key} was recorded for inputs {self._expected}; got {came}")


class StepGraphs:
    """Runs steps of the model by their keys. Used by one thread; everything runs in inference mode.

    A key stands for a function and for the shapes of its inputs: the function that came with a key first stays with
    it. Whatever else decides about a step (a context bucket, greedy or not) belongs into the key. There is one
    recording for each key, for good, so keys must be few.

    A step may read and write tensors that live outside of it (weights, the state of the slots), always the same ones:
    a replay uses them where they were. Everything that changes from run to run is an input, random numbers too.

    Args:
        device: steps are recorded on CUDA, and called as they are elsewhere
        compile: put steps through ``torch.compile`` when they are captured
        recorder: what records; by default the one that belongs to the device
    """

    def __init__(self, device: torch.device, *, compile: bool = False, recorder: Recorder | None = None) -> None:  # noqa: A002
        self._device = device
        self._compile = compile
        self._recorder = recorder or (CudaRecorder(device) if device.type == "cuda" else None)
        self._steps: dict[Hashable, _Step] = {}
        self._captured: dict[Hashable, Callable[..., Outputs]] = {}  # what to call where there is no recording
        self._late = 0
        self._compilations = 0
        self._replays = 0
        self._calls = 0
        self._capture_sec = 0.0
        self._pool_bytes = 0

    @torch.inference_mode()
    def capture(
        self, key: Hashable, function: Callable[..., Outputs], *examples: Tensor, worth_compiling: bool = True
    ) -> None:
        """Prepare a step: compile it if that is wished for, and record it where the device can. Once for each key.

        A compilation takes minutes. A step that is rare, or that is busy with large products, is not worth it.

        The function is called some times with the examples, so whatever it writes to must be nobody's: the rows among
        the examples are the spare one.
        """
        if key in self._captured:
            return
        with self._timed(key):
            step = self._compiled(function) if self._compile and worth_compiling else function
            inputs = self._static(examples)
            for _ in range(WARM_UPS):
                self._rehearse(step, inputs)
            if self._recorder is not None:
                self._steps[key] = _Step(key, self._recorder, step, inputs)
        self._captured[key] = step

    @torch.inference_mode()
    def run[Result: Outputs](self, key: Hashable, function: Callable[..., Result], *inputs: Tensor) -> Result:
        """What the function makes of these inputs. The outputs are the caller's own; the next run leaves them alone.

        On CUDA an input may lie in pinned memory of the host; then it must not change before the device was waited for.
        A key that was not captured is run as it is, and recorded after that: a step is never done twice.

        Raises:
            ValueError: the inputs have other shapes or dtypes than those that the key was captured with.
        """
        if step := self._steps.get(key):
            self._replays += 1
            return cast(Result, step.run(inputs))
        self._calls += 1
        if self._recorder is None:
            return cast(Result, self._captured.get(key, function)(*inputs))
        if key in self._captured:  # and cannot be recorded
            return function(*self._static(inputs))
        return self._run_and_record(self._recorder, key, function, self._static(inputs))

    def statistics(self) -> GraphStatistics:
        return GraphStatistics(
            graphs=len(self._steps),
            late=self._late,
            compiled=self._compilations,
            replays=self._replays,
            calls=self._calls,
            capture_sec=self._capture_sec,
            pool_bytes=self._pool_bytes,
        )

    def _run_and_record[Result: Outputs](
        self, recorder: Recorder, key: Hashable, function: Callable[..., Result], inputs: list[Tensor]
    ) -> Result:
        """Whoever waits for the outputs gets them even when the step cannot be recorded."""
        outputs = own(recorder.rehearse(lambda: function(*inputs)))
        self._captured[key] = function
        try:
            with self._timed(key):
                self._steps[key] = _Step(key, recorder, function, inputs)
            self._late += 1
        except RuntimeError:
            logger.warning("step %s cannot be recorded; it is run as it is from now on", key, exc_info=True)
        return outputs

    def _rehearse(self, function: Callable[..., Outputs], inputs: list[Tensor]) -> Outputs:
        if self._recorder is None:
            return function(*inputs)
        return self._recorder.rehearse(lambda: function(*inputs))

    def _static(self, inputs: Iterable[Tensor]) -> list[Tensor]:
        return [one.to(self._device, copy=True, memory_format=torch.contiguous_format) for one in inputs]

    def _compiled(self, function: Callable[..., Outputs]) -> Callable[..., Outputs]:
        """Compiled for the shapes of one key, apart from what was compiled of the same function for others."""
        self._compilations += 1
        mode = "max-autotune-no-cudagraphs" if self._device.type == "cuda" else "default"
        put_through: Callable[..., Any] = torch.compile  # whose types do not tell of isolate_recompiles
        compiled: Callable[..., Outputs] = put_through(
            function, fullgraph=True, dynamic=False, mode=mode, isolate_recompiles=True
        )
        return compiled

    @contextmanager
    def _timed(self, key: Hashable) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        except Exception as error:
            error.add_note(f"while step {key} was captured")
            raise
        finally:
            self._capture_sec += time.perf_counter() - began
        if self._recorder is not None:
            self._pool_bytes = self._recorder.pool_bytes()


def own[Result: Outputs](outputs: Result) -> Result:
    """Copies, which no replay writes to."""
    if isinstance(outputs, Tensor):
        return cast(Result, outputs.clone())
    return cast(Result, tuple(output.clone() for output in outputs))


def shapes(tensors: Iterable[Tensor]) -> list[tuple[torch.Size, torch.dtype]]:
    return [(tensor.shape, tensor.dtype) for tensor in tensors]
