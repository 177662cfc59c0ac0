"""Whole replies: every token is that of the released package's own generators, whoever shares the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
import torch
from torch import Tensor

from deployments.engine.alternation import ControlTokens
from deployments.engine.sampling import Choice
from deployments.engine.speech_model import SpeechModel
from deployments.engine.speech_state import SpeechState
from tests.tape import HOST_WAITS
from tests.tiny_checkpoint import tiny_checkpoint
from tests.tiny_model import (
    CODEBOOKS,
    GREEDY,
    Batch,
    Chance,
    Item,
    Operations,
    Reply,
    greedy,
    integers,
    random,
    sampled,
    stock_model,
    tiny_model,
)

pytestmark = [pytest.mark.engine, pytest.mark.timeout(60)]  # the package is read in by the first of them

CONTROLS = ControlTokens(end_of_turn=7, audio_start=128, text_end=130, end_of_audio=2048)


def reply(
    seed: int, *, sequential: bool = False, joins: int = 0, limit: int = 60, chance: Chance | None = None
) -> Reply:
    """A request of its own: another prompt, a reply before it, another length."""
    dice = Random(seed)
    text = [dice.randrange(200, 500) for _ in range(dice.randrange(4, 20))]
    frames = torch.tensor([[dice.randrange(2049) for _ in range(CODEBOOKS)] for _ in range(dice.randrange(6))])
    frames = frames.view(-1, CODEBOOKS).long()
    return Reply(text, frames, limit, sequential=sequential, joins=joins, chance=chance or GREEDY)


def said(model: SpeechModel, replies: list[Reply], slots: int) -> list[list[Item]]:
    Batch(model, CONTROLS, slots).say(replies)
    return [one.said for one in replies]


# -- exactness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("seed", "runs"), [(0, (6, 12)), (1, (6, 9)), (2, (6, 12))])
def test_every_token_is_that_of_the_released_generators(seed: int, runs: tuple[int, int], packed: bool) -> None:
    """Six replies of both kinds on three slots, some of which come later than others, and take over used slots."""
    folder = tiny_checkpoint(seed=seed, text_run=runs[0], audio_run=runs[1])
    replies = [reply(10 * seed + n, sequential=n % 3 == 2, joins=3 * n // 2, limit=50) for n in range(6)]
    together = said(tiny_model(folder, packed=packed), replies, slots=3)
    for one, items in zip(replies, together, strict=True):
        assert items == one.of_stock(stock_model(folder))
    assert any(isinstance(item, int) for items in together for item in items)
    assert any(isinstance(item, tuple) and item[0] == 2048 for items in together for item in items)


@pytest.mark.parametrize("chance", [None, Chance(1.0, 4), Chance(0.8, 64), Chance(1.0, 0)])
def test_a_reply_alone_is_the_reply_in_a_batch_of_sixteen(chance: Chance | None) -> None:
    """With chance of its own, which is the same wherever and whenever it runs."""
    chances = [chance and chance._replace(seed=number) for number in range(16)]
    together = said(tiny_model(), [reply(n, limit=30, joins=n % 3, chance=chances[n]) for n in range(16)], slots=16)
    for number in (0, 5, 10, 15):
        assert said(tiny_model(), [reply(number, limit=30, chance=chances[number])], slots=1) == [together[number]]


def test_the_greedy_are_not_led_astray_by_those_who_gamble() -> None:
    gamblers = [reply(n, limit=30, chance=Chance(1.0, 4, seed=n) if n % 2 else None) for n in range(6)]
    together = said(tiny_model(), gamblers, slots=6)
    for number in (0, 2, 4):
        assert together[number] == said(tiny_model(), [reply(number, limit=30)], slots=1)[0]


@torch.inference_mode()
def test_half_the_bits_cost_no_more_than_in_the_released_model() -> None:
    """In bfloat16, how far hidden states are from those in float32."""
    prompt = random(40, 64)
    exact: Tensor = stock_model().lfm(inputs_embeds=prompt[None]).last_hidden_state[0, -1]
    rows, zero, length = integers(0), integers(0), integers(40)
    model = tiny_model(dtype=torch.bfloat16)
    ours = model.prefill(model.new_state(1, 64), prompt[None].bfloat16(), rows, zero, length, context=64)[0]
    assert ours.dtype == torch.bfloat16
    assert (ours.float() - exact).norm() < 0.03 * exact.norm()


# -- the steps of a batch --------------------------------------------------------------------------------------------


class Stage:
    """Sixteen slots, and every kind of step on them."""

    def __init__(self, batch: int = 16) -> None:
        self.model = tiny_model()
        self.state = self.used_state(batch)
        self.rows = torch.arange(batch)
        self.hidden = random(batch, 64, seed=4)
        self.prompt = random(batch, 5, 64, seed=5)
        self.lengths = torch.arange(batch) % 6
        self.greedy = greedy(batch)
        self.sampled = sampled(batch)

    def used_state(self, batch: int) -> SpeechState:
        state = self.model.new_state(batch, 64)
        for seed, part in enumerate((state.keys_values, state.conv, state.inputs)):
            part.copy_(random(*part.shape, seed=seed))
        return state

    def prefill(self) -> Tensor:
        starts = self.rows * 2
        return self.model.prefill(self.state, self.prompt, self.rows, starts, self.lengths, context=64)

    def decode(self) -> Tensor:
        return self.model.decode(self.state, self.rows, self.rows * 2, context=64)

    def text(self, choice: Choice) -> Tensor:
        return self.model.sample_text(self.state, self.hidden, self.rows, choice)

    def frame(self, choice: Choice) -> Tensor:
        return self.model.sample_frame(self.state, self.hidden, self.rows, choice)


STEPS: dict[str, Callable[[Stage], Tensor]] = {
    "prefill": Stage.prefill,
    "decode": Stage.decode,
    "text": lambda stage: stage.text(stage.greedy),
    "text, sampled": lambda stage: stage.text(stage.sampled),
    "frame": lambda stage: stage.frame(stage.greedy),
    "frame, sampled": lambda stage: stage.frame(stage.sampled),
}


def counted(step: Callable[[Stage], Tensor], batch: int) -> list[str]:
    stage = Stage(batch)
    operations = Operations()
    with torch.no_grad(), operations:
        step(stage)
    return operations.names


@pytest.mark.parametrize("kind", STEPS)
def test_no_step_waits_for_the_device_or_does_more_for_more_rows(kind: str) -> None:
    alone = counted(STEPS[kind], 1)
    assert not {str(operation) for operation in HOST_WAITS}.intersection(alone)
    assert counted(STEPS[kind], 16) == alone


@pytest.mark.parametrize("kind", ["decode", "frame", "prefill"])
def test_the_number_of_operations_stays_what_it_is(kind: str) -> None:
    """A GPU is given each one by one. Four layers of the backbone, two of the depthformer; views cost it nothing."""
    views = (
        "view",
        "slice",
        "select",
        "t.",
        "transpose",
        "permute",
        "unsqueeze",
        "squeeze",
        "expand",
        "unbind",
        "split",
    )
    names = [name.removeprefix("aten.") for name in counted(STEPS[kind], 1)]
    work = [name for name in names if not name.startswith(views)]
    assert len(work) <= {"decode": 125, "frame": 540, "prefill": 160}[kind]


@pytest.mark.parametrize("kind", STEPS)
def test_every_step_can_be_compiled_whole(kind: str) -> None:
    step, eager, compiled = STEPS[kind], Stage(2), Stage(2)
    torch._dynamo.reset()
    with torch.no_grad():
        expected = step(eager)
        assert torch.equal(torch.compile(step, fullgraph=True, backend="eager")(compiled), expected)
    assert torch.equal(compiled.state.inputs, eager.state.inputs)
    assert torch.equal(compiled.state.conv, eager.state.conv)
    assert torch.equal(compiled.state.keys_values, eager.state.keys_values)


@torch.inference_mode()
@pytest.mark.parametrize("choice", [greedy, sampled])
def test_what_is_no_number_costs_its_own_row_only(choice: Callable[[int], Choice]) -> None:
    stage = Stage(4)
    expected = stage.text(choice(4)), stage.frame(choice(4))
    stage.hidden[1] = float("nan")
    text, frame = stage.text(choice(4)), stage.frame(choice(4))
    assert text[1] == frame[1, 0] == -1
    others = [0, 2, 3]
    assert torch.equal(text[others], expected[0][others])
    assert torch.equal(frame[others], expected[1][others])


@torch.inference_mode()
def test_the_next_input_is_what_was_said() -> None:
    stage = Stage(3)
    tokens = stage.text(greedy(3))
    assert torch.equal(stage.state.inputs[:3], stage.model.embed_text(tokens))
    stage.rows = integers(2, 0, 1)
    codes = stage.frame(greedy(3))
    assert torch.equal(stage.state.inputs[[2, 0, 1]], stage.model.embed_frames(codes))
    expected = stock_model().audio_embedding(codes + stock_model().codebook_offsets).sum(1)
    torch.testing.assert_close(stage.model.embed_frames(codes), expected)


@torch.inference_mode()
def test_the_end_of_the_sound_is_said_in_all_codebooks() -> None:
    stage = Stage(256)
    stage.hidden = random(256, 64, seed=8) * 3
    codes = stage.frame(greedy(256))
    ended = codes[:, 0] == 2048
    assert 0 < ended.sum() < 256
    assert torch.all(codes[ended] == 2048)


@torch.inference_mode()
def test_a_head_that_failed_on_its_way_can_speak_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object) -> Tensor:
        raise RuntimeError("out of memory")

    stage = Stage(4)
    before = stage.state.inputs.clone()
    with monkeypatch.context() as patch:
        patch.setattr(stage.model.depthformer.logits[-1], "forward", failing)
        with pytest.raises(RuntimeError, match="out of memory"):
            stage.frame(greedy(4))
    assert torch.equal(stage.state.inputs, before)
    assert torch.equal(stage.frame(greedy(4)), Stage(4).frame(greedy(4)))


@torch.inference_mode()
def test_the_long_way_without_chance_is_the_short_way() -> None:
    stage = Stage()
    assert torch.equal(stage.frame(replace(stage.sampled, temperature=torch.zeros(16))), stage.frame(stage.greedy))
