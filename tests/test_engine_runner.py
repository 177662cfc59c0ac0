"""One step: what fails by itself fails alone, and what was made comes to the host in one copy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deployments.engine.checkpoint import open_checkpoint
from deployments.engine.loading import load_runner, new_sessions
from deployments.engine.outcome import StepOutcome
from deployments.engine.prompt import Dialogue, Mode
from deployments.engine.runner import attempt, buckets, fetch
from deployments.engine.sequence import Pace, PrefillChunk, Sequence, StepPlan
from deployments.engine.vocabulary import Vocabulary
from routing.turns import Message
from tests.engine_parity import GREEDY, scheduling, settings_for
from tests.tiny_checkpoint import tiny_checkpoint

pytestmark = pytest.mark.engine


def sequences(count: int) -> list[Sequence]:
    return [
        Sequence(key=key, slot=key, prompt_positions=1, speech_sec=0, maximum_steps=1, arrived_at=0)
        for key in range(count)
    ]


@pytest.mark.parametrize("guilty", [set(), {0}, {6}, {2, 5}, set(range(7))])
def test_only_what_fails_by_itself_has_failed(guilty: set[int]) -> None:
    outcome = StepOutcome()
    tried: list[slice] = []

    def work(part: slice) -> list[int]:
        tried.append(part)
        if guilty & set(range(part.start, part.stop)):
            raise torch.OutOfMemoryError("no memory")
        return list(range(part.start, part.stop))

    made = attempt(sequences(7), work, outcome)
    assert [number for _, numbers in made for number in numbers] == sorted(set(range(7)) - guilty)
    assert {fault.sequence.key for fault in outcome.faults} == guilty
    assert len(tried) == 1 or guilty


def test_a_bug_of_our_own_is_no_fault_of_a_reply() -> None:
    with pytest.raises(TypeError):
        attempt(sequences(2), len, StepOutcome())  # type: ignore[arg-type]


def test_a_device_that_is_lost_ends_the_step() -> None:
    def work(part: slice) -> None:
        message = "out of memory" if part.stop - part.start > 1 else "device-side assert triggered"
        raise torch.AcceleratorError(f"CUDA error: {message}")

    with pytest.raises(torch.AcceleratorError, match="assert"):
        attempt(sequences(2), work, StepOutcome())


def test_nothing_is_attempted_for_nobody() -> None:
    assert attempt([], lambda _: 1 / 0, StepOutcome()) == []


def test_what_was_made_comes_to_the_host_as_it_was() -> None:
    tokens = torch.tensor([5, -1, 2**31 - 1])
    codes = torch.arange(16).view(2, 8)
    samples = torch.linspace(-1, 1, 6).view(2, 3)
    fetched = fetch([tokens, codes, samples])
    for array, tensor in zip(fetched, (tokens, codes, samples), strict=True):
        assert np.array_equal(array, tensor.numpy())
    assert [array.dtype for array in fetched] == [np.int32, np.int32, np.float32]
    assert fetch([]) == []


def test_sizes_are_rounded_only_where_each_has_a_recording() -> None:
    assert list(buckets(1, 6, fixed=True)) == [1, 2, 4, 6]
    assert list(buckets(1, 6, fixed=False)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("fixed", [True, False])
def test_a_prompt_may_nearly_fill_its_slot_whatever_its_size_is_rounded_up_to(fixed: bool) -> None:
    """Rounded up the only chunk is longer than the slot. Once it is prefilled nothing of it is kept but the slot."""
    scheduler = scheduling(maximum_running=2, maximum_waiting=0, prefill_chunk=256)
    sizes = {"slots": 2, "slot_positions": 200, "maximum_reply_sec": 0.5}
    settings = settings_for(tiny_checkpoint(), compile=fixed, scheduler=scheduler, **sizes)
    checkpoint = open_checkpoint(settings.checkpoint)
    runner = load_runner(checkpoint, settings)
    sessions = new_sessions(Vocabulary(checkpoint.tokenizer), runner, settings, Pace(0.08, 6, 12))
    dialogue = Dialogue(mode=Mode.INTERLEAVED, system="", history=(Message("user", "long " * 22),))
    lease = sessions.begin("long", dialogue, now=0)
    size = lease.prompt_positions
    assert 128 < size < 190
    prompt = Sequence(key=0, slot=lease.slot, prompt_positions=size, speech_sec=0, maximum_steps=10, arrived_at=0)
    runner.begin(prompt, lease, GREEDY, seed=0)
    outcome = runner.run(StepPlan(prefill=(PrefillChunk(prompt, 0, size),)))
    assert outcome.faults == []
    assert [sampled.sequence for sampled in outcome.sampled] == [prompt]
    assert runner._replies[0].embeddings is None
