"""One step: what fails by itself fails alone, and what was made comes to the host in one copy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deployments.engine.outcome import StepOutcome
from deployments.engine.runner import attempt, buckets, fetch
from deployments.engine.sequence import Sequence

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
