"""Steps are recorded once for each key, and a replay does what a call would have done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deployments.engine import loading
from deployments.engine.graphs import Buckets, StepGraphs
from routing.errors import InvalidRequest, SettingsError
from tests.engine_parity import settings_for
from tests.engine_steps import ROUNDS, Steps, replay_beside_calls
from tests.engine_talk import SMALL, conversation
from tests.tape import TapeRecorder
from tests.tiny_checkpoint import tiny_checkpoint

pytestmark = [pytest.mark.engine, pytest.mark.timeout(60)]  # the first to trace reads the tracer in

CPU = torch.device("cpu")
SPARE = 3


@pytest.fixture
def recorder() -> TapeRecorder:
    return TapeRecorder()


@pytest.fixture
def graphs(recorder: TapeRecorder) -> StepGraphs:
    return StepGraphs(CPU, recorder=recorder)


# -- buckets ---------------------------------------------------------------------------------------------------------


def test_a_size_is_rounded_up_to_its_bucket() -> None:
    buckets = Buckets([4, 1, 16, 4])
    assert [buckets.fit(size) for size in (0, 1, 2, 4, 5, 16)] == [1, 1, 4, 4, 16, 16]
    assert (list(buckets), buckets.last) == ([1, 4, 16], 16)


def test_what_no_bucket_holds_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="at most 16, the largest bucket; got 17"):
        Buckets([16]).fit(17)


@pytest.mark.parametrize("sizes", [[], [0, 4]])
def test_buckets_are_sizes(sizes: list[int]) -> None:
    with pytest.raises(SettingsError, match="at least 1"):
        Buckets(sizes)


@given(st.integers(1, 300), st.integers(1, 5000))
def test_buckets_double_up_to_the_last(first: int, last: int) -> None:
    if first > last:
        with pytest.raises(SettingsError, match="between 1 and the last"):
            Buckets.doubling(first, last)
        return
    sizes = Buckets.doubling(first, last).sizes
    assert (sizes[0], sizes[-1]) == (first, last)
    assert all(next_one <= 2 * size for size, next_one in pairwise(sizes))


# -- replays ---------------------------------------------------------------------------------------------------------


class Counter:
    """A step with a state: counts in the rows it is given, and tells how often Python ran it."""

    def __init__(self) -> None:
        self.state = torch.zeros(SPARE + 1)
        self.calls = 0

    def step(self, rows: Tensor, amounts: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        counted = self.state.index_select(0, rows) + amounts
        self.state.index_copy_(0, rows, counted)
        return counted, rows * 10


@pytest.fixture
def counter() -> Counter:
    return Counter()


def spare_rows() -> tuple[Tensor, Tensor]:
    return torch.tensor([SPARE, SPARE]), torch.ones(2)


def test_a_replay_does_what_a_call_would_have_done(graphs: StepGraphs, counter: Counter) -> None:
    graphs.capture("count", counter.step, *spare_rows())
    calls = counter.calls
    first = graphs.run("count", counter.step, torch.tensor([0, 2]), torch.tensor([5.0, 7.0]))
    second = graphs.run("count", counter.step, torch.tensor([2, 1]), torch.tensor([1.0, 2.0]))
    assert counter.calls == calls
    assert [one.tolist() for one in (*first, *second)] == [[5, 7], [0, 20], [8, 2], [20, 10]]
    assert counter.state[:SPARE].tolist() == [5, 2, 8]


def test_capturing_leaves_no_trace_in_the_slots_and_in_the_examples(graphs: StepGraphs, counter: Counter) -> None:
    rows, amounts = spare_rows()
    graphs.capture("count", counter.step, rows, amounts)
    assert counter.state[:SPARE].tolist() == [0, 0, 0]
    graphs.run("count", counter.step, torch.tensor([0, 1]), torch.zeros(2))
    assert (rows.tolist(), amounts.tolist()) == ([SPARE, SPARE], [1, 1])


def test_a_step_that_was_not_captured_is_done_once_and_then_recorded(graphs: StepGraphs, counter: Counter) -> None:
    rows, amounts = torch.tensor([0, 1]), torch.tensor([5.0, 7.0])
    assert graphs.run("count", counter.step, rows, amounts)[0].tolist() == [5, 7]
    assert counter.state.tolist() == [5, 7, 0, 0]
    assert graphs.run("count", counter.step, rows, amounts)[0].tolist() == [10, 14]
    statistics = graphs.statistics()
    assert (statistics.graphs, statistics.late, statistics.calls, statistics.replays) == (1, 1, 1, 1)


def test_outputs_outlive_replays_of_this_and_of_other_steps(graphs: StepGraphs) -> None:
    """Recordings compute in the same memory, so that none of them may be taken at its word for long."""
    double, triple = (lambda x: x * 2 + 0), (lambda x: x * 3 + 0)
    graphs.capture("triple", triple, torch.zeros(2))
    graphs.capture("double", double, torch.zeros(2))
    doubled = graphs.run("double", double, torch.tensor([1.0, 2.0]))
    again = graphs.run("double", double, doubled)
    tripled = graphs.run("triple", triple, doubled)
    assert (doubled.tolist(), again.tolist(), tripled.tolist()) == ([2, 4], [4, 8], [3 * 2, 3 * 4])


def test_each_key_has_its_own_recording(graphs: StepGraphs) -> None:
    for size in (1, 4):
        graphs.capture(("sum", size), lambda x: x.sum(0), torch.zeros(size))
    assert [graphs.run(("sum", size), lambda x: x.sum(0), torch.ones(size)).item() for size in (4, 1)] == [4, 1]


def test_a_step_is_captured_once(graphs: StepGraphs, counter: Counter, recorder: TapeRecorder) -> None:
    for _ in range(3):
        graphs.capture("count", counter.step, *spare_rows())
    assert len(recorder.tapes) == graphs.statistics().graphs == 1


def test_statistics_tell_of_time_and_memory(graphs: StepGraphs, counter: Counter) -> None:
    assert graphs.statistics().capture_sec == 0
    graphs.capture("count", counter.step, *spare_rows())
    statistics = graphs.statistics()
    assert statistics.capture_sec > 0
    assert statistics.pool_bytes >= 2 * 4


# -- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [torch.ones(1), torch.ones(2, dtype=torch.float64)])
def test_inputs_of_another_shape_are_refused(graphs: StepGraphs, counter: Counter, wrong: Tensor) -> None:
    graphs.capture("count", counter.step, *spare_rows())
    with pytest.raises(ValueError, match="step count was recorded for inputs"):
        graphs.run("count", counter.step, torch.tensor([0, 1]), wrong)
    assert counter.state[:SPARE].tolist() == [0, 0, 0]


def test_a_capture_that_fails_names_the_step(graphs: StepGraphs) -> None:
    with pytest.raises(RuntimeError, match="not permitted") as caught:
        graphs.capture(("peek", 1), lambda x: x * x.item(), torch.ones(1))
    assert caught.value.__notes__ == ["while step ('peek', 1) was captured"]
    assert graphs.statistics().graphs == 0


def test_a_step_that_cannot_be_recorded_is_called_all_the_same(
    graphs: StepGraphs, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        made = [graphs.run("peek", lambda x: x * x.item(), torch.tensor([value])).item() for value in (2.0, 3.0)]
    assert made == [4, 9]
    assert [record.getMessage() for record in caplog.records] == [
        "step peek cannot be recorded; it is run as it is from now on"
    ]
    statistics = graphs.statistics()
    assert (statistics.graphs, statistics.late, statistics.calls) == (0, 0, 2)


# -- without recordings ----------------------------------------------------------------------------------------------


def test_elsewhere_steps_are_called(counter: Counter) -> None:
    graphs = StepGraphs(CPU)
    graphs.capture("count", counter.step, *spare_rows())
    counted, _ = graphs.run("count", counter.step, torch.tensor([0, 1]), torch.tensor([5.0, 7.0]))
    assert counted.tolist() == [5, 7]
    statistics = graphs.statistics()
    assert (statistics.graphs, statistics.calls, statistics.replays, statistics.pool_bytes) == (0, 1, 0, 0)


@pytest.fixture
def uncompiled() -> Iterator[None]:
    """What is compiled is run as it is: a compiler takes its seconds."""
    with torch.compiler.set_stance("force_eager"):
        yield


def test_compiling_is_part_of_capturing(uncompiled: None, counter: Counter) -> None:
    graphs = StepGraphs(CPU, compile=True)
    graphs.capture("count", counter.step, *spare_rows())
    counted, _ = graphs.run("count", counter.step, torch.tensor([0, 1]), torch.tensor([5.0, 7.0]))
    graphs.capture("rare", counter.step, *spare_rows(), worth_compiling=False)
    graphs.run("other", counter.step, torch.tensor([0]), torch.tensor([5.0]))
    assert counted.tolist() == [5, 7]
    assert graphs.statistics().compiled == 1


@pytest.mark.slow
@pytest.mark.timeout(120)  # the first compilation of a process reads a compiler in
def test_a_compiled_step_does_the_same() -> None:
    state = torch.zeros(SPARE + 1)

    def step(rows: Tensor, amounts: Tensor) -> Tensor:
        counted = state.index_select(0, rows) + amounts
        state.index_copy_(0, rows, counted)
        return counted

    graphs = StepGraphs(CPU, compile=True)
    for size in (1, 2):
        graphs.capture(size, step, *(one[:size] for one in spare_rows()))
    assert [graphs.run(size, step, torch.arange(size), torch.full((size,), 5.0)).tolist() for size in (1, 2)] == [
        [5],
        [10, 5],
    ]
    assert state[:SPARE].tolist() == [10, 5, 0]


# -- the model's own steps -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3])
@torch.inference_mode()
def test_every_kind_of_step_can_be_recorded(graphs: StepGraphs, batch: int) -> None:
    """None waits for the device, and a replay says and leaves behind to the last bit what a call does."""
    recorded, called = (Steps(tiny_checkpoint(), slots=4) for _ in range(2))
    replay_beside_calls(graphs, recorded, called, batch=batch, context=32)
    statistics = graphs.statistics()
    assert (statistics.graphs, statistics.replays, statistics.calls) == (7, 7 * ROUNDS, 0)


@torch.inference_mode()
def test_recording_leaves_no_trace_in_the_slots(graphs: StepGraphs) -> None:
    steps = Steps(tiny_checkpoint(), slots=4)
    for kind in steps.kinds(context=32):
        graphs.capture(kind.name, kind.function, *kind.inputs(steps.spare_rows(2), 0))
    assert not any(tensor.any() for tensor in steps.memory())


def test_replies_are_the_same_with_recordings(uncompiled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole engine as it runs on a GPU: sizes rounded up, every step recorded before the first turn."""
    settings = settings_for(tiny_checkpoint(), **SMALL)
    expected = asyncio.run(conversation(settings))
    graphs = StepGraphs(CPU, recorder=TapeRecorder())
    monkeypatch.setattr(loading, "StepGraphs", lambda *_, **__: graphs)
    assert asyncio.run(conversation(settings.model_copy(update={"compile": True}))) == expected
    statistics = graphs.statistics()
    assert statistics.replays > 50
    assert (statistics.late, statistics.calls) == (0, 0)
