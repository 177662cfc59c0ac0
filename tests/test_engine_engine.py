"""The engine as its users see it: asked on an event loop, answering many, whoever leaves, fails or is refused."""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from deployments.batch import Batch
from deployments.engine.answer import Answer
from deployments.engine.engine import Engine
from deployments.engine.loading import load_engine
from deployments.engine.outcome import StepOutcome
from deployments.engine.prompt import SYSTEM_TEXTS
from deployments.engine.runner import Runner
from deployments.engine.sequence import StepPlan
from deployments.engine.settings import EngineSettings, SamplingSettings
from deployments.engine.speech_state import SpeechState
from routing.errors import AtCapacity, BackendError, BackendUnavailable, InvalidRequest
from routing.turns import Message, ReplyEnd, ReplyEvent
from tests.engine_parity import (
    Items,
    StockChat,
    Talk,
    clip,
    items_of,
    scheduling,
    settings_for,
    sound_of,
    text_of,
    told,
)
from tests.tiny_checkpoint import stock, tiny_checkpoint

pytestmark = pytest.mark.engine

CHECKPOINT_SEED = 2  # whose replies are long, with text and sound
SAMPLED = SamplingSettings(text_temperature=0.8, text_top_k=40, audio_temperature=1.0, audio_top_k=4)


@functools.cache
def loaded(**changes: Any) -> Engine:
    return new_engine(**changes)


def new_engine(**changes: Any) -> Engine:
    return load_engine(settings(**changes))


def settings(**changes: Any) -> EngineSettings:
    return settings_for(tiny_checkpoint(seed=CHECKPOINT_SEED), maximum_reply_sec=2.2, **changes)


END_OF_TURN, AUDIO_START, END_OF_AUDIO = 7, 128, 2048
LIMIT = 42  # tokens and frames in 2.2 s


@asynccontextmanager
async def running(**changes: Any) -> AsyncIterator[Engine]:
    """One engine for all tests that want the same: loaded once, its sessions told apart by their names."""
    async with await asyncio.to_thread(loaded, **changes) as engine:
        yield engine


async def of_stock(*questions: Any, **options: Any) -> list[Items]:
    """What the package itself answers, turn by turn."""

    def talk() -> list[Items]:
        chat = StockChat(stock(tiny_checkpoint(seed=CHECKPOINT_SEED)), **options)
        return [chat.ask(question, limit=LIMIT) for question in questions]

    return await asyncio.to_thread(talk)


async def steps(answer: Answer, count: int) -> None:
    """Wait until so much of a reply was made."""
    while answer.sequence.steps < count:
        await asyncio.sleep(0.001)


async def alone(question: Any) -> Answer:
    async with running() as engine:
        answer = engine.ask(question)
        await told(answer)
        return answer


async def test_what_is_heard_and_read_is_what_was_sampled() -> None:
    async with running() as engine:
        answer = engine.ask(Talk("heard and read").question(clip(2)))
        events = await told(answer)
    items = items_of(answer)
    frames = [item for item in items if isinstance(item, tuple) and item[0] != END_OF_AUDIO]
    tokens = [item for item in items if isinstance(item, int)]

    def expected() -> tuple[Any, str]:
        processor = stock(tiny_checkpoint(seed=CHECKPOINT_SEED)).processor
        whole = processor.decode(torch.tensor(frames).clamp(max=2047).T[None])[0].numpy()
        return whole, processor.text.decode(tokens, skip_special_tokens=True)

    sound, (whole, text) = sound_of(events), await asyncio.to_thread(expected)
    assert sound.shape == whole.shape
    assert np.abs(sound - whole).max() < 1e-5
    assert text_of(events) == text.rstrip("\N{REPLACEMENT CHARACTER}")  # half a character at the end is none
    assert isinstance(events[-1], ReplyEnd)
    assert list(events[-1].timings_ms) == ["queue", "encode", "prefill", "first_text", "first_audio", "rest"]
    assert events[-1].output_tokens == len(items)


@pytest.mark.parametrize("sampling", [None, SAMPLED], ids=["greedy", "sampled"])
async def test_a_reply_does_not_depend_on_who_shares_its_batch(sampling: SamplingSettings | None) -> None:
    name = f"batch {sampling is None}"
    question = Talk(name).question(clip(3), sampling=sampling, seed=5)
    by_itself = items_of(await alone(question))
    async with running() as engine:
        others = [engine.ask(Talk(f"{name} {n}").question(clip(n), sampling=SAMPLED, seed=n)) for n in range(15)]
        answer = engine.ask(replace(question, turn=replace(question.turn, session_id=f"{name} again")))
        await asyncio.gather(told(answer), *map(told, others))
        assert engine.statistics().scheduler.mean_batch > 2
    assert items_of(answer) == by_itself
    assert len({tuple(items_of(other)) for other in others}) > 1


async def test_a_reply_that_was_never_released_was_never_asked() -> None:
    """The user went on speaking: what was begun is taken back, twice, and a third time when it had ended already."""
    talk = Talk("speculation")
    async with running() as engine:
        first = engine.ask(talk.question(clip(0)))
        talk.remember("...", await told(first))
        for speech, made in ((clip(1), 3), (clip(2), 20)):
            early = engine.ask(talk.question(speech))
            await steps(early, made)
            early.close()
        whole = engine.ask(talk.question(clip(3)))
        await told(whole, released=False)
        whole.close()
        answer = engine.ask(talk.question(clip(4)))
        await told(answer)
    assert [items_of(first), items_of(answer)] == await of_stock(clip(0), clip(4))


async def test_only_what_was_heard_of_an_interrupted_reply_is_remembered() -> None:
    talk = Talk("barge-in")
    async with running() as engine:
        first = engine.ask(talk.question(clip(5)))
        first.release()
        await steps(first, 30)
        first.close()
        while engine.statistics().sessions.running:
            await asyncio.sleep(0.001)
        assert first.lease is not None
        heard = first.lease.turn.text[: first.lease.turn.ends[0]]
        talk.history = [Message("user", "..."), Message("assistant", heard)]
        second = engine.ask(talk.question(clip(6)))
        await told(second)
    kept = first.lease.turn.items_within(heard)
    assert 0 < kept < len(items_of(first))

    def expected() -> Items:
        chat = StockChat(stock(tiny_checkpoint(seed=CHECKPOINT_SEED)))
        chat.ask(clip(5), limit=kept)
        return chat.ask(clip(6), limit=LIMIT)

    assert items_of(second) == await asyncio.to_thread(expected)


@pytest.mark.parametrize("frames", [1, 5, 9])
async def test_what_was_heard_can_be_told_to_the_frame_when_all_was_made_long_ago(frames: int) -> None:
    talk = Talk(f"heard {frames}")
    async with running() as engine:
        first = engine.ask(talk.question(clip(0)))
        await told(first)
        first.close(heard_sec=frames * 0.08)
        kept = index_of_frame(items_of(first), frames)
        assert first.lease is not None
        talk.history = [Message("user", "..."), Message("assistant", first.lease.turn.text_of(kept).rstrip())]
        second = engine.ask(talk.question(clip(6)))
        await told(second)
        assert second.lease is not None
        assert second.lease.truncated

    def expected() -> Items:
        chat = StockChat(stock(tiny_checkpoint(seed=CHECKPOINT_SEED)))
        chat.ask(clip(0), limit=kept)
        return chat.ask(clip(6), limit=LIMIT)

    assert items_of(second) == await asyncio.to_thread(expected)


def index_of_frame(items: Items, frames: int) -> int:
    """How many items there are up to the last of so many frames that can be heard."""
    sounding = [index for index, item in enumerate(items, 1) if isinstance(item, tuple) and item[0] != END_OF_AUDIO]
    return sounding[frames - 1]


async def test_a_session_that_lost_its_slot_is_rebuilt_from_the_words_of_its_history() -> None:
    async with running(slots=2, scheduler=scheduling(maximum_running=2, maximum_waiting=0)) as engine:
        talks = [Talk(f"evicted {number}") for number in range(3)]
        for number, talk in enumerate(talks):
            talk.remember(f"question {number}", await told(engine.ask(talk.question(clip(number)))))
        before = engine.statistics().sessions
        answer = engine.ask(talks[0].question(clip(7)))
        await told(answer)
        after = engine.statistics().sessions
    assert (after.rebuilt - before.rebuilt, after.evicted - before.evicted) == (1, 1)

    def expected() -> Items:
        chat = StockChat(stock(tiny_checkpoint(seed=CHECKPOINT_SEED)))
        for role, message in zip(("user", "assistant"), talks[0].history, strict=True):
            chat.read(role, message.text)
        return chat.ask(clip(7), limit=LIMIT)

    assert items_of(answer) == await asyncio.to_thread(expected)


async def test_a_script_is_read_aloud_as_the_package_reads_it() -> None:
    async with running() as engine:
        answer = engine.ask(Talk("announcement").question(None, script="Your timer has run out."))
        events = await told(answer)

    def expected() -> Items:
        chat = StockChat(stock(tiny_checkpoint(seed=CHECKPOINT_SEED)), system="Perform TTS. Use the US female voice.")
        return chat.ask("Your timer has run out.", limit=LIMIT, sequential=True)

    stock_items = await asyncio.to_thread(expected)
    assert items_of(answer) == [item for item in stock_items if item != 7]
    assert isinstance(events[-1], ReplyEnd)


async def test_a_reply_in_words_ends_where_its_sound_would_begin() -> None:
    question = Talk("words only").question(clip(1))
    async with running() as engine:
        answer = engine.ask(replace(question, turn=replace(question.turn, modality="text")))
        events = await told(answer)

    def expected() -> Items:
        chat = StockChat(stock(tiny_checkpoint(seed=CHECKPOINT_SEED)), system=SYSTEM_TEXTS.writing)
        return chat.ask(clip(1), limit=LIMIT, sequential=True)

    spoken = await asyncio.to_thread(expected)
    words = list(itertools.takewhile(lambda item: item not in (AUDIO_START, END_OF_TURN), spoken))
    assert 0 < len(words) < len(spoken)
    assert items_of(answer) == words
    assert len(sound_of(events)) == 0
    assert isinstance(events[-1], ReplyEnd)


async def test_a_typed_question_is_the_end_of_the_history() -> None:
    talk = Talk("typed")
    talk.history = [Message("user", "What is the time?")]
    async with running() as engine:
        answer = engine.ask(talk.question(None))
        await told(answer)
    assert [items_of(answer)] == await of_stock("What is the time?")


async def test_whoever_leaves_or_fails_takes_nobody_along() -> None:
    """In one batch: one hangs up, one meets numbers that are none, one fails in the machine; three go on untouched."""
    questions = [Talk(f"company {number}").question(clip(number)) for number in range(6)]
    expected = [(await of_stock(clip(number)))[0] for number in range(3)]
    async with running() as engine:
        with engine._changed:  # the thread does not get to them in between
            answers = [engine.ask(question) for question in questions]
            for answer in answers:
                answer.release()
        with failing_for(
            engine._runner, answers, leaving=answers[3], not_finite=answers[4], short_of_memory=answers[5]
        ):
            results = await asyncio.gather(*map(outcome, answers))
        again = engine.ask(replace(questions[4], speech=clip(1)))
        await told(again)
        faults = engine.statistics().faults
    assert [items_of(answer) for answer in answers[:3]] == expected
    assert "closed" in str(results[3])
    assert "finite" in str(results[4])
    assert "out of memory" in str(results[5])
    assert faults == 2
    assert items_of(again) == expected[1]


async def outcome(answer: Answer) -> Sequence[ReplyEvent] | BackendError:
    try:
        return [event async for event in answer.events()]
    except BackendError as error:
        return error


async def test_whoever_waits_for_a_reply_is_told_of_its_close_even_before_it_is_begun() -> None:
    async with running() as engine:
        with engine._changed:  # the thread does not get to it in between
            answer = engine.ask(Talk("never begun").question(clip(0)))
            answer.close()
            answer.release()
        assert "closed" in str(await outcome(answer))
        assert not answer.sequence.released


async def test_a_reply_that_was_overtaken_may_be_released_and_closed_as_if_it_had_not() -> None:
    talk = Talk("overtaken")
    async with running() as engine:
        first = engine.ask(talk.question(clip(0)))
        await steps(first, 2)
        second = engine.ask(talk.question(clip(1)))
        events = await told(second)
        first.release()
        first.close(heard_sec=0.08)
        talk.remember("...", events)
        third = engine.ask(talk.question(clip(2)))
        await told(third)
    assert [items_of(second), items_of(third)] == await of_stock(clip(1), clip(2))


@pytest.mark.parametrize("moment", ["reset", "flush"])
async def test_a_reply_that_fails_between_two_steps_fails_alone(moment: str) -> None:
    """No memory where its slot is prepared, or where the end of its sound is fetched."""

    def failing(*_: object) -> None:
        raise torch.OutOfMemoryError("the device is out of memory")

    talk = Talk(f"between steps: {moment}")
    async with running() as engine:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine._runner._detokenizer, moment, failing)
            answer = engine.ask(talk.question(clip(0)))
            answer.release()
            assert "out of memory" in str(await outcome(answer))
        again = engine.ask(talk.question(clip(0)))
        await told(again)
        assert engine.statistics().sessions.running == 0
    assert [items_of(again)] == await of_stock(clip(0))


async def test_nothing_is_left_of_callers_who_come_and_go_as_they_like() -> None:
    """Eight at a time in four sessions: each reply is overtaken, held, let go of or heard, at any moment of it."""
    chance = random.Random(0)

    async def turn(number: int) -> None:
        answer = engine.ask(Talk(f"restless {number % 4}").question(clip(number % 3)))
        reader = asyncio.create_task(outcome(answer))
        await asyncio.sleep(chance.choice([0, 0, 0.01, 0.03]))
        acts: list[Callable[[], None]] = [answer.release, answer.close, lambda: answer.close(heard_sec=0.1)]
        for act in chance.choices(acts, k=2):
            act()
            await asyncio.sleep(chance.choice([0, 0.01]))
        answer.close()
        await reader

    async with running() as engine:
        for start in range(0, 80, 8):
            await asyncio.gather(*map(turn, range(start, start + 8)))
        assert items_of(await told_answer(engine, "after the restless")) == (await of_stock(clip(0)))[0]
    left = (engine._answers, engine._held, engine._closed, engine._arrivals, engine._runner._replies)
    assert [len(one) for one in left] == [0] * 5
    assert engine.statistics().sessions.running == engine.statistics().scheduler.running == 0


@contextmanager
def failing_for(
    runner: Runner, answers: Sequence[Answer], *, leaving: Answer, not_finite: Answer, short_of_memory: Answer
) -> Iterator[None]:
    """Once all of them speak, one hangs up, the state of another is no numbers, and for a third there is no memory."""
    decode = runner._model.decode

    def failing(state: SpeechState, rows: torch.Tensor, positions: torch.Tensor, *, context: int) -> torch.Tensor:
        if all(answer.sequence.steps >= 2 for answer in answers):
            leaving.close()
            if short_of_memory.sequence.slot in rows.tolist():
                raise torch.OutOfMemoryError("the device is out of memory")
            state.conv[:, not_finite.sequence.slot] = float("nan")
        return decode(state, rows, positions, context=context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner._model, "decode", failing)
        yield


@pytest.mark.parametrize(
    ("speech", "said"),
    [
        (np.zeros(0, np.float32), "0.00 s"),
        (np.full(16_000, np.nan, np.float32), "finite"),
        (np.zeros((2, 16_000), np.float32), r"shape \[2, 16000\]"),
        (np.zeros(16_000, np.int16), "int16"),
        (np.zeros(16_000 * 61, np.float32), "61.00 s"),
    ],
)
async def test_what_is_no_speech_is_refused_at_once(speech: Any, said: str) -> None:
    async with running() as engine:
        with pytest.raises(InvalidRequest, match=said):
            engine.ask(Talk("no speech").question(speech))
        assert items_of(await told_answer(engine, "speech")) != []


async def test_a_text_that_would_hold_everybody_up_is_refused() -> None:
    talk = Talk("long")
    talk.history = [Message("user", "a" * 40_000)]
    async with running() as engine:
        with pytest.raises(InvalidRequest, match="at most 32768 characters, came 40000"):
            engine.ask(talk.question(None))


async def told_answer(engine: Engine, name: str) -> Answer:
    answer = engine.ask(Talk(name).question(clip(0)))
    await told(answer)
    return answer


async def test_a_full_engine_says_so_at_once_and_has_room_again_when_somebody_leaves() -> None:
    async with running(slots=2, scheduler=scheduling(maximum_running=1, maximum_waiting=1)) as engine:
        first, second = (engine.ask(Talk(f"full {number}").question(clip(number))) for number in range(2))
        with pytest.raises(AtCapacity) as refusal:
            engine.ask(Talk("full 2").question(clip(2)))
        assert refusal.value.retry_after_sec > 0
        first.close()
        await told(second)
        assert items_of(await told_answer(engine, "full 3"))
        assert engine.statistics().scheduler.refused == 1


async def test_a_reply_that_rests_is_woken_by_its_release_and_by_time() -> None:
    """Held, it stops a little ahead; then it goes on as fast as it is played, and all of it comes."""
    with_pacing = scheduling(maximum_ahead_sec=0.3)
    async with running(scheduler=with_pacing) as engine:
        answer = engine.ask(Talk("resting").question(clip(0)))
        while not engine.statistics().scheduler.paced:
            await asyncio.sleep(0.001)
        held = answer.sequence.frames
        await asyncio.sleep(0.1)
        assert answer.sequence.frames == held
        events = await told(answer)
    assert held < answer.sequence.frames
    assert isinstance(events[-1], ReplyEnd)
    assert items_of(answer) == (await of_stock(clip(0)))[0]


async def test_a_step_has_admitted_nobody_who_left_meanwhile() -> None:
    """The turn may have asked for another reply by now, which this step did nothing for."""
    batches: list[Batch] = []
    answers: list[Answer] = []
    async with running() as engine:
        engine.watch(batches.append)
        with pytest.MonkeyPatch.context() as patch:
            run = engine._runner.run

            def leaving(plan: StepPlan) -> StepOutcome:
                answers[0].close()
                return run(plan)

            patch.setattr(engine._runner, "run", leaving)
            with engine._changed:
                answers.append(engine.ask(Talk("leaving").question(clip(0))))
            assert "closed" in str(await outcome(answers[0]))
        await told(engine.ask(Talk("staying").question(clip(0))))
    assert len([batch for batch in batches if batch.admitted]) == 1


async def test_closing_the_engine_ends_every_reply_with_an_error() -> None:
    async with running(scheduler=scheduling(maximum_ahead_sec=0.3)) as engine:
        answers = [engine.ask(Talk(f"closing {number}").question(clip(0))) for number in range(3)]
        while engine.statistics().scheduler.paced < len(answers):  # held, they rest before their ends
            await asyncio.sleep(0.001)
    for answer in answers:
        with pytest.raises(BackendUnavailable, match="closed"):
            await told(answer)
    with pytest.raises(BackendUnavailable, match="closed"):
        engine.ask(Talk("closing 4").question(clip(0)))


async def test_a_fault_of_the_engine_itself_is_told_to_everybody() -> None:
    engine = await asyncio.to_thread(new_engine, slots=2, scheduler=scheduling(maximum_running=2, maximum_waiting=0))
    async with engine:
        answer = engine.ask(Talk("fault").question(clip(0)))
        engine._scheduler.plan = lambda _: 1 / 0  # type: ignore[assignment,method-assign,return-value]
        with pytest.raises(BackendUnavailable, match="division"):
            await told(answer)
        with pytest.raises(BackendUnavailable, match="failed"):
            engine.check_health()
