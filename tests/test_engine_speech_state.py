"""What the model remembers of a session is kept in its own row, and is gone when it is erased."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import Tensor

from deployments.engine.speech_state import SpeechState
from routing.errors import SettingsError
from tests.tiny_model import integers, tiny_model

pytestmark = pytest.mark.engine


def used_state(slots: int) -> SpeechState:
    state = tiny_model().new_state(slots, 64)
    for part in (state.keys_values, state.conv, state.saved_conv, state.inputs):
        part.normal_()
    return state


def copies(state: SpeechState) -> dict[str, Tensor]:
    return {field.name: getattr(state, field.name).clone() for field in fields(state)}


def test_its_size_is_that_of_the_slots_and_one_more() -> None:
    state = tiny_model().new_state(3, 64)
    assert state.spare == 3
    assert state.positions == 64
    assert state.keys_values.shape == (2, 2, 4, 2, 64, 16)  # layers, keys and values, rows, heads, positions, width
    assert state.conv.shape == state.saved_conv.shape == (2, 4, 2, 64)
    assert state.inputs.shape == (4, 64)


def test_convolutions_come_back_as_they_were_saved_and_nobody_elses_change() -> None:
    state = used_state(3)
    before = copies(state)
    state.save(integers(2, 0))
    state.conv.add_(1)
    state.restore(integers(0, 2))
    assert torch.equal(state.conv[:, [0, 2]], before["conv"][:, [0, 2]])
    assert torch.equal(state.conv[:, [1, 3]], before["conv"][:, [1, 3]] + 1)
    assert torch.equal(state.saved_conv[:, [1, 3]], before["saved_conv"][:, [1, 3]])


def test_what_is_erased_is_as_new_and_nothing_else_is() -> None:
    state = used_state(3)
    state.keys_values[:, :, 1, :, 7] = float("nan")
    before, new = copies(state), copies(tiny_model().new_state(3, 64))
    state.erase(integers(1))
    for name, after in copies(state).items():
        dim = {"keys_values": 2, "conv": 1, "saved_conv": 1, "inputs": 0}.get(name)
        if dim is None:
            assert torch.equal(after, before[name])
            continue
        assert torch.equal(after.select(dim, 1), new[name].select(dim, 1))
        assert torch.equal(
            after.index_select(dim, integers(0, 2, 3)), before[name].index_select(dim, integers(0, 2, 3))
        )


def test_more_positions_than_the_model_knows_are_refused() -> None:
    with pytest.raises(SettingsError, match="at most 4096 positions for each slot, got 4097"):
        tiny_model().new_state(1, 4097)
