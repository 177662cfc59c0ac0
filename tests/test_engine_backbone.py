"""The backbone says what the released model says, however a prompt is cut, and whoever shares the step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor

from deployments.engine.speech_state import SpeechState
from tests.tiny_model import integers, random, stock_model, tiny_model

pytestmark = [pytest.mark.engine, pytest.mark.timeout(60)]  # the package is read in by the first of them

WIDTH = 64
CONTEXT = 64


def of_stock(inputs: Tensor) -> Tensor:
    """What the released model says at each of the inputs [positions, width]."""
    hidden: Tensor = stock_model().lfm(inputs_embeds=inputs[None]).last_hidden_state[0]
    return hidden


def same(ours: Tensor, theirs: Tensor | Iterable[Tensor]) -> None:
    expected = theirs if isinstance(theirs, Tensor) else torch.stack(list(theirs))
    torch.testing.assert_close(ours, expected, atol=3e-5, rtol=1e-5)


def prefill(state: SpeechState, inputs: Iterable[Tensor], rows: list[int], starts: list[int]) -> Tensor:
    """A part of each row's prompt; they may be of different lengths."""
    parts = list(inputs)
    padded = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=9.0)
    lengths = integers(*[len(part) for part in parts])
    return tiny_model().prefill(state, padded, integers(*rows), integers(*starts), lengths, context=CONTEXT)


def decode(state: SpeechState, inputs: Tensor, rows: list[int], positions: list[int]) -> Tensor:
    state.inputs[rows] = inputs
    return tiny_model().decode(state, integers(*rows), integers(*positions), context=CONTEXT)


def dirty_state(slots: int) -> SpeechState:
    """Somebody else's keys and values lie everywhere."""
    state = tiny_model().new_state(slots, CONTEXT)
    state.keys_values.normal_()
    return state


@torch.inference_mode()
@pytest.mark.parametrize("cuts", [[23], [1] * 23, [2] * 11 + [1], [7, 7, 7, 2], [1, 20, 2], [16, 7]])
def test_a_prompt_may_be_cut_anywhere(cuts: list[int]) -> None:
    prompt, state, start = random(23, WIDTH), dirty_state(2), 0
    said = of_stock(prompt)
    for cut in cuts:
        same(prefill(state, [prompt[start : start + cut]], [1], [start])[0], said[start + cut - 1])
        start += cut


@torch.inference_mode()
def test_prompts_of_different_lengths_share_a_step() -> None:
    """Each is at another place of its prompt; one of the rows has nothing to do, and two are padding of the batch."""
    prompts = [random(length, WIDTH, seed=length) for length in (5, 19, 30)]
    said = [of_stock(prompt) for prompt in prompts]
    state = dirty_state(4)
    spare = torch.zeros(1, WIDTH)
    same(prefill(state, [prompts[0][:2], prompts[1][:11]], [3, 0], [0, 0]), [said[0][1], said[1][10]])
    parts = [prompts[2][:13], prompts[0][2:5], spare, spare[:0], prompts[1][11:12]]
    hidden = prefill(state, parts, [1, 3, state.spare, state.spare, 0], [0, 2, 0, 0, 11])
    same(hidden[[0, 1, 4]], [said[2][12], said[0][4], said[1][11]])
    parts = [prompts[0][:0], prompts[1][12:], prompts[2][13:]]
    same(prefill(state, parts, [3, 0, 1], [5, 12, 13])[1:], [said[1][-1], said[2][-1]])
    more = random(3, WIDTH, seed=99)
    whole = [of_stock(torch.cat((prompt, one[None])))[-1] for prompt, one in zip(prompts, more, strict=True)]
    same(decode(state, more, [3, 0, 1], [5, 19, 30]), whole)


@torch.inference_mode()
def test_steps_go_on_from_a_prompt_in_any_order_of_rows_and_with_padding() -> None:
    lengths = [4, 17, 9]
    inputs = [random(length + 8, WIDTH, seed=length) for length in lengths]
    said = [of_stock(one) for one in inputs]
    state = dirty_state(4)
    prefill(state, [one[:length] for one, length in zip(inputs, lengths, strict=True)], [2, 0, 3], [0, 0, 0])
    for step in range(8):
        order = [(step + place) % 3 for place in range(3)]
        rows = [[2, 0, 3][one] for one in order] + [state.spare] * (step % 3)
        news = torch.stack([inputs[one][lengths[one] + step] for one in order] + [torch.ones(WIDTH)] * (step % 3))
        positions = [lengths[one] + step for one in order] + [0] * (step % 3)
        same(decode(state, news, rows, positions)[:3], [said[one][lengths[one] + step] for one in order])


@torch.inference_mode()
def test_the_first_step_may_be_the_first_position() -> None:
    inputs, state = random(6, WIDTH), dirty_state(1)
    said = of_stock(inputs)
    for position in range(6):
        same(decode(state, inputs[[position]], [0], [position])[0], said[position])


@torch.inference_mode()
def test_padding_is_written_nowhere_but_to_the_spare_row() -> None:
    state = dirty_state(3)
    state.conv.normal_()
    before = state.keys_values.clone(), state.conv.clone()
    prefill(state, [random(7, WIDTH), random(2, WIDTH), random(0, WIDTH)], [2, 0, 1], [4, 60, 9])
    unchanged = state.keys_values.eq(before[0]).all(-1).all(3).all(1).all(0)
    expected = torch.ones(3, CONTEXT, dtype=torch.bool)
    expected[2, 4:11] = expected[0, 60:62] = False
    assert torch.equal(unchanged[:3], expected)
    assert torch.equal(state.conv[:, 1], before[1][:, 1])


@torch.inference_mode()
def test_what_is_no_number_stays_in_its_row() -> None:
    inputs, state = random(3, WIDTH), dirty_state(3)
    clean = decode(state, inputs, [0, 1, 2], [0, 0, 0])
    state.keys_values[:, :, state.spare] = float("nan")
    inputs[1] = float("nan")
    state.conv.zero_()
    spoilt = decode(state, torch.cat((inputs, inputs[:1])), [0, 1, 2, state.spare], [0, 0, 0, 0])
    same(spoilt[[0, 2]], clean[[0, 2]])
    assert torch.all(spoilt[1].isnan())


def failing(*args: Any) -> Tensor:
    raise RuntimeError("out of memory")


@torch.inference_mode()
def test_a_step_that_failed_on_its_way_can_be_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, more = random(9, WIDTH), random(1, WIDTH, seed=1)
    said = of_stock(torch.cat((prompt, more)))
    state = dirty_state(1)
    prefill(state, [prompt[:4]], [0], [0])
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(tiny_model().backbone.layers[-1], "forward", failing)
            with pytest.raises(RuntimeError, match="out of memory"):
                prefill(state, [prompt[4:]], [0], [4])
    same(prefill(state, [prompt[4:]], [0], [4])[0], said[8])
    with monkeypatch.context() as patch:
        patch.setattr(tiny_model().backbone.norm, "forward", failing)
        with pytest.raises(RuntimeError, match="out of memory"):
            decode(state, more, [0], [9])
    same(decode(state, more, [0], [9])[0], said[9])
