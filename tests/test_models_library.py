"""All models are loaded at once, ready for use, and gone when closed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from edge_client.models.library import Library, load_library
from edge_client.models.store import ModelStore
from routing.errors import ModelError
from tests.model_files import model_store

LOADING = pytest.mark.timeout(90)  # of all models, on a busy machine

NAMES = {"voice activity", "turn end", "speech to text", "embedder", "language", "voice"}


async def joined(library: Library) -> None:
    for thread in library.threads():
        await asyncio.to_thread(thread.join)


def model_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.rpartition("_")[0] in NAMES]


@pytest.mark.models
@LOADING
async def test_every_model_is_loaded_on_its_own_thread_and_answers() -> None:
    told: list[str] = []
    library = await load_library(model_store(), progress=told.append)
    assert {message.partition(" is ready")[0] for message in told} == NAMES
    assert told[-1].endswith("(6 of 6 models)")
    assert {thread.name for thread in library.threads()} == NAMES
    silence = np.zeros(16_000, np.float32)

    heard = library.speech_to_text.thread.run(lambda: library.speech_to_text.model.transcribe(silence))
    ended = library.turn_end.thread.run(lambda: library.turn_end.model.completeness(silence))
    vectors = library.embedder.thread.run(lambda: library.embedder.model.embed(["hello"]))
    written = library.language.thread.run(lambda: library.language.model.generate("Hello", max_tokens=2))
    spoken = library.voice.thread.run(lambda: library.voice.model.speak("Hello."))
    detector = library.voice_activity.model.detector()
    voiced = library.voice_activity.thread.run(lambda: detector.probability(silence[:512]))

    assert (await heard).text == ""
    assert 0.0 <= await ended <= 1.0
    assert (await vectors).shape == (1, 384)
    assert (await written).tokens == 2
    assert len(await spoken) > 2_400
    assert await voiced < 0.35
    library.close()
    await joined(library)
    assert model_threads() == []
    with pytest.raises(ModelError, match="closed"):
        library.language.model.generate("Hello", max_tokens=1)


@pytest.mark.slow
async def test_without_models_the_lack_is_told_and_nothing_stays_behind(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="run: antiphon models pull"):
        await load_library(ModelStore(tmp_path), progress=lambda message: None)
    for thread in model_threads():
        await asyncio.to_thread(thread.join, 10)
    assert model_threads() == []


SCRIPT = """
import asyncio, os
from edge_client.models.library import load_library
from edge_client.models.store import ModelStore, default_folder

async def main():
    library = await load_library(ModelStore(default_folder(os.environ)), progress=lambda message: None)
    {ending}

asyncio.run(main())
"""


@pytest.mark.models
@LOADING
@pytest.mark.parametrize("ending", ["library.close()", "pass"])
def test_a_process_ends_quietly_whether_or_not_it_closes_the_library(ending: str) -> None:
    command = [sys.executable, "-c", SCRIPT.format(ending=ending)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=80, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
