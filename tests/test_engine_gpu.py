"""On a GPU the engine says what it says on a CPU, from recordings, and each step costs about what its weights do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deployments.engine.graphs import StepGraphs
from deployments.engine.quantisation import quantise, stored_bytes
from deployments.engine.settings import EngineSettings
from tests.engine_parity import settings_for
from tests.engine_steps import ROUNDS, Steps, replay_beside_calls
from tests.engine_talk import SMALL, conversation
from tests.tape import tensors_in
from tests.tiny_checkpoint import cached_checkpoint, tiny_checkpoint

logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.engine, pytest.mark.gpu, pytest.mark.timeout(120)]

DEVICE = "cuda"
BUCKETS = [(1, 128), (4, 128), (16, 256)]  # rows and context
KINDS = 7
SLOTS, POSITIONS = 16, 256


def steps(preset: str, dtype: torch.dtype, device: str = DEVICE) -> Steps:
    return Steps(cached_checkpoint(preset, seed=0), slots=SLOTS, positions=POSITIONS, device=device, dtype=dtype)


def graphs() -> StepGraphs:
    return StepGraphs(torch.device(DEVICE))


# -- recordings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_replays_do_what_calls_do(dtype: torch.dtype) -> None:
    """Every kind of step, at several sizes that share their memory."""
    recorded, called, made = steps("tiny", dtype), steps("tiny", dtype), graphs()
    for batch, context in BUCKETS:
        replay_beside_calls(made, recorded, called, batch=batch, context=context, exact=False)
    statistics = made.statistics()
    assert statistics.graphs == KINDS * len(BUCKETS)
    assert statistics.replays == KINDS * ROUNDS * len(BUCKETS)
    assert statistics.pool_bytes > 0
    logger.info(
        "recorded %d steps in %.1f s, %d bytes", statistics.graphs, statistics.capture_sec, statistics.pool_bytes
    )


@pytest.mark.parametrize("depthformer", ["int8", "int4"])
@torch.inference_mode()
def test_steps_of_fewer_bits_can_be_recorded(depthformer: Any) -> None:
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("4 bits need a GPU of compute capability 8.0")
    recorded, called = steps("tiny", torch.bfloat16), steps("tiny", torch.bfloat16)
    for one in (recorded, called):
        quantise(one.model, backbone="int8", depthformer=depthformer)
    replay_beside_calls(graphs(), recorded, called, batch=4, context=128, exact=False)


@torch.inference_mode()
def test_a_step_that_was_not_recorded_beforehand_is_done_once() -> None:
    state = torch.zeros(2, device=DEVICE)
    made = graphs()

    def count(rows: Tensor) -> Tensor:
        counted = state.index_select(0, rows) + 1
        state.index_copy_(0, rows, counted)
        return counted

    assert [made.run("count", count, torch.tensor([1], device=DEVICE)).item() for _ in range(3)] == [1, 2, 3]
    assert state.tolist() == [0, 3]


@torch.inference_mode()
def test_inputs_may_lie_in_pinned_memory() -> None:
    made = graphs()
    made.capture("double", lambda x: x * 2, torch.zeros(2, device=DEVICE))
    assert made.run("double", lambda x: x * 2, torch.tensor([1.0, 2.0]).pin_memory()).tolist() == [2, 4]


# -- what is said ----------------------------------------------------------------------------------------------------


@torch.inference_mode()
def hidden_states(one: Steps) -> Tensor:
    """Of all sessions after a prefill and a step more, float32 on the CPU."""
    kinds = {kind.name: kind.function for kind in one.kinds(context=128)}
    rows, chance = torch.arange(SLOTS), torch.Generator().manual_seed(3)
    embeddings = torch.randn(SLOTS, 48, one.model.shape.hidden, generator=chance)
    lengths = torch.randint(1, 49, (SLOTS,), generator=chance)
    given = [part.to(one.device) for part in (rows, torch.zeros_like(rows), lengths)]
    prefilled = kinds["prefill"](embeddings.to(one.device, one.model.dtype), *given)
    one.state.inputs[:-1] = embeddings[:, 0].to(one.state.inputs)
    return torch.cat(tensors_in((prefilled, kinds["decode"](given[0], given[2])))).float().cpu()


def test_it_computes_what_a_cpu_computes() -> None:
    expected = hidden_states(steps("tiny", torch.float32, "cpu"))
    torch.testing.assert_close(hidden_states(steps("tiny", torch.float32)), expected, rtol=1e-3, atol=1e-4)


def test_half_the_bits_of_a_number_say_nearly_the_same() -> None:
    expected = hidden_states(steps("tiny", torch.float32, "cpu"))
    made = hidden_states(steps("tiny", torch.bfloat16))
    assert functional.cosine_similarity(made, expected).min() > 0.99


def test_greedy_replies_are_those_of_a_cpu() -> None:
    """A whole engine: speech in, tokens and frames out, over several turns."""
    settings = settings_for(tiny_checkpoint(), **SMALL)
    expected = asyncio.run(conversation(settings))
    assert asyncio.run(conversation(on_device(settings))) == expected


def on_device(settings: EngineSettings) -> EngineSettings:
    return settings.model_copy(update={"device": DEVICE})


# -- how long it takes -----------------------------------------------------------------------------------------------


@torch.inference_mode()
@pytest.mark.parametrize("batch", [1, 16])
def test_a_step_is_told_beside_the_time_that_its_weights_take(batch: int) -> None:
    """Nothing is asserted of times: see them with ``--log-cli-level=INFO``."""
    one, made = steps("mid", torch.bfloat16), graphs()
    weights = {"decode": stored_bytes(one.model.backbone), "frame, greedy=False": frame_bytes(one)}
    for kind in one.kinds(context=128):
        inputs = kind.inputs(one.rows(batch, 1), 1)
        made.capture(kind.name, kind.function, *kind.inputs(one.spare_rows(batch), 0))
        replayed = milliseconds(lambda: made.run(kind.name, kind.function, *inputs))  # noqa: B023 called at once
        called = milliseconds(lambda: kind.function(*inputs))  # noqa: B023
        floor = weights.get(kind.name, 0) / bytes_per_millisecond()
        logger.info(
            "%d rows, %s: %.3f ms, without recording %.3f, floor %.3f", batch, kind.name, replayed, called, floor
        )
        assert replayed > 0


def frame_bytes(one: Steps) -> int:
    """What a frame reads of the depthformer: its layers once for each codebook."""
    depthformer = one.model.depthformer
    return stored_bytes(depthformer) + (one.model.shape.codebooks - 1) * stored_bytes(depthformer.layers)


@cache
def bytes_per_millisecond() -> float:
    """Of reading, as a copy has it: half of what it moves."""
    source = torch.empty(2**28, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    return 2 * source.nbytes / milliseconds(lambda: target.copy_(source))


def milliseconds(work: Callable[[], object], times: int = 20) -> float:
    """The median."""
    taken = []
    for _ in range(times):
        torch.cuda.synchronize()
        began = perf_counter()
        work()
        torch.cuda.synchronize()
        taken.append(1000 * (perf_counter() - began))
    return sorted(taken)[times // 2]
