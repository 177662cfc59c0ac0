"""What nobody should do to an engine, and somebody will: it says what is wrong, and goes on for the others."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.engine.answer import Answer
from deployments.engine.checkpoint import open_checkpoint
from deployments.engine.engine import Engine
from deployments.engine.loading import load_engine, load_runner
from routing.errors import AntiphonError, BackendError, InvalidRequest, ModelError, SettingsError
from routing.turns import Message, ReplyEnd
from tests.engine_parity import Talk, clip, items_of, scheduling, settings_for, told
from tests.tiny_checkpoint import tiny_checkpoint

pytestmark = pytest.mark.engine


@functools.cache
def loaded() -> Engine:
    few = scheduling(maximum_running=2, maximum_waiting=2, prefill_chunk=16)
    return load_engine(settings_for(tiny_checkpoint(seed=2), maximum_reply_sec=1.0, slots=4, scheduler=few))


@asynccontextmanager
async def running() -> AsyncIterator[Engine]:
    """The engine of all these tests; when one is over, nothing is left of it and the engine answers as before."""
    async with await asyncio.to_thread(loaded) as engine:
        yield engine
        while engine.statistics().sessions.running or engine.statistics().scheduler.running:
            await asyncio.sleep(0.001)
        assert await items_in(engine, "afterwards") == await items_in(engine, "afterwards, and anew")


async def items_in(engine: Engine, name: str) -> list[Any]:
    answer = engine.ask(Talk(name).question(clip(0)))
    assert isinstance((await told(answer))[-1], ReplyEnd)
    return items_of(answer)


async def ending(answer: Answer) -> ReplyEnd | AntiphonError:
    try:
        last = [event async for event in answer.events()][-1]
    except AntiphonError as error:
        return error
    assert isinstance(last, ReplyEnd)
    return last


async def test_a_reply_closed_before_the_engine_took_it_up_ends_for_its_reader() -> None:
    async with running() as engine:
        answer = engine.ask(Talk("closed at once").question(clip(0)))
        reader = asyncio.create_task(ending(answer))
        answer.close()
        assert "closed" in str(await reader)


@pytest.mark.parametrize("heard_sec", [float("nan"), float("inf")])
async def test_what_was_heard_is_a_number_of_seconds(heard_sec: float) -> None:
    async with running() as engine:
        answer = engine.ask(Talk("heard").question(clip(0)))
        await told(answer)
        with pytest.raises(InvalidRequest, match="number of seconds"):
            answer.close(heard_sec=heard_sec)


async def test_what_was_heard_is_not_forgotten_when_a_reply_is_closed_again() -> None:
    async with running() as engine:
        answer = engine.ask(Talk("closed twice").question(clip(0)))
        await told(answer)
        answer.close(heard_sec=0.16)
        answer.close()
        assert answer.heard_sec == 0.16


async def test_what_is_told_of_a_reply_that_was_taken_back_changes_nothing() -> None:
    async with running() as engine:
        talk = Talk("overtaken")
        overtaken, later = engine.ask(talk.question(clip(0))), engine.ask(talk.question(clip(1)))
        assert "closed" in str(await ending(overtaken))
        overtaken.release()
        overtaken.close(heard_sec=0.5)
        assert isinstance((await told(later))[-1], ReplyEnd)


@pytest.mark.parametrize("item", [Message("tool", "x"), Message("user", None), "words"])  # type: ignore[arg-type]
async def test_a_history_that_is_none_ends_its_own_turn_only(item: Any) -> None:
    async with running() as engine:
        other = engine.ask(Talk("other").question(clip(0)))
        talk = Talk("no history")
        talk.history = [item]
        answer = engine.ask(talk.question(clip(1)))
        assert isinstance(await ending(answer), BackendError)
        assert isinstance((await told(other))[-1], ReplyEnd)


async def test_words_in_the_place_of_marks_and_halves_of_characters_are_read() -> None:
    async with running() as engine:
        talk = Talk("marks")
        talk.history = [Message("user", "<|im_end|><|audio_start|>\ud800 <\ud800|im_start|>"), Message("assistant", "")]
        assert isinstance((await told(engine.ask(talk.question(clip(0)))))[-1], ReplyEnd)


def test_an_event_loop_may_end_while_a_reply_is_made() -> None:
    """Whoever left in such a hurry may still close the engine, and use it again."""

    async def hurry() -> Answer:
        await loaded().__aenter__()
        return loaded().ask(Talk("hurry").question(clip(0)))

    async def later() -> None:
        await loaded().__aexit__()
        async with running():
            pass

    answer = asyncio.run(hurry())
    answer.release()
    asyncio.run(later())


async def test_an_engine_is_entered_once_at_a_time() -> None:
    async with running() as engine:
        with pytest.raises(RuntimeError, match="once at a time"):
            await engine.__aenter__()


async def test_speech_may_be_any_array_and_is_the_callers_own_once_it_was_asked() -> None:
    """Every other sample of something longer, read-only, or written over at once: what counts is what was asked."""
    speech = clip(3)
    spaced = np.repeat(speech, 2)[::2]
    sealed = speech.copy()
    sealed.setflags(write=False)
    reused = speech.copy()
    async with running() as engine:
        made = []
        for number, form in enumerate((speech, spaced, sealed, reused)):
            answer = engine.ask(Talk(f"form {number}").question(form))
            reused[:] = np.nan
            await told(answer)
            made.append(items_of(answer))
            reused[:] = speech
    assert made[1:] == made[:1] * 3


@pytest.mark.parametrize("amplitude", [0.0, 1e-42, 1e-20, 1e4, 3e38])
async def test_speech_of_any_loudness_has_a_reply_or_an_error(amplitude: float) -> None:
    async with running() as engine:
        answer = engine.ask(Talk("loud").question(np.float32(amplitude) * np.sign(clip(4))))
        answer.release()
        assert isinstance(await ending(answer), ReplyEnd | BackendError)


async def test_a_step_that_meets_an_unknown_id_ends_that_reply_only() -> None:
    async with running() as engine:
        embed = engine._runner._model.embed_text
        other = engine.ask(Talk("other").question(clip(0)))

        def failing(ids: Any) -> Any:
            if len(ids) > 60:
                raise IndexError("index out of range in self")
            return embed(ids)

        talk = Talk("unknown id")
        talk.history = [Message("user", "many words " * 60)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine._runner._model, "embed_text", failing)
            answer = engine.ask(talk.question(clip(1)))
            assert "out of range" in str(await ending(answer))
        assert isinstance((await told(other))[-1], ReplyEnd)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("preprocessor", "sample_rate", "16 kHz"),
        ("preprocessor", "pad_to", True),
        ("encoder", "subsampling_factor", 0),
        ("encoder", "n_heads", 0),
        ("encoder", "n_layers", 10**9),
        ("encoder", "feat_out", "x"),
        ("lfm", "full_attn_idxs", [0]),
        ("lfm", "layer_types", [[]]),
    ],
)
def test_a_checkpoint_that_tells_nonsense_is_a_bad_checkpoint(tmp_path: Path, part: str, key: str, value: Any) -> None:
    folder = copied(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config[part][key] = value
    written(folder / "config.json", json.dumps(config))
    with pytest.raises(ModelError, match=r"expected"):
        load_runner(open_checkpoint(folder), settings_for(folder))


def test_a_tokenizer_with_more_ids_than_the_model_knows_is_a_foreign_one(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    config = json.loads((folder / "tokenizer.json").read_text())
    config["model"]["vocab"]["<foreign>"] = 70_000
    written(folder / "tokenizer.json", json.dumps(config))
    with pytest.raises(ModelError, match="found 70000 for '<foreign>'"):
        open_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "audio_detokenizer/config.json"])
def test_a_file_that_never_comes_to_an_end_is_no_json(tmp_path: Path, name: str) -> None:
    folder = copied(tmp_path)
    written(folder / name, "[" * 100_000)
    with pytest.raises(ModelError, match="expected JSON"):
        load_runner(open_checkpoint(folder), settings_for(folder))


@pytest.mark.parametrize("device", ["meta", "mps", "cpu:3", "nowhere"])
def test_a_device_that_the_engine_does_not_run_on_is_a_wrong_setting(device: str) -> None:
    with pytest.raises(SettingsError, match="expected auto, cpu or cuda"):
        load_engine(settings_for(tiny_checkpoint(seed=2), device=device))


def copied(folder: Path) -> Path:
    """A checkpoint whose files can be replaced one by one."""
    shutil.copytree(tiny_checkpoint(seed=2), folder / "checkpoint", copy_function=os.symlink)
    return folder / "checkpoint"


def written(file: Path, text: str) -> None:
    file.unlink()
    file.write_text(text)
