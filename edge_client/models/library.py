"""Every model of the device, loaded and warm, each with its thread."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, fields

import numpy as np

from edge_client.models.hibari import HibariVoice
from edge_client.models.minilm import MiniLM
from edge_client.models.moonshine import Moonshine
from edge_client.models.silero import VAD_FRAME_SAMPLES, SileroModel
from edge_client.models.smart_turn import SmartTurn
from edge_client.models.smollm2 import SmolLM2
from edge_client.models.store import ModelStore
from edge_client.models.thread import ModelThread
from routing.turns import SPEECH_SAMPLE_RATE, Samples

WARM_UP_SEC = 3  # of sound: a question of usual length


@dataclass(frozen=True, slots=True)
class Hosted[M]:
    """A model, and the only thread it may be called on."""

    model: M
    thread: ModelThread


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweringLibrary:
    """The models that answer a turn which somebody else has heard the end of. Whoever loaded them closes them."""

    speech_to_text: Hosted[Moonshine]
    embedder: Hosted[MiniLM]
    language: Hosted[SmolLM2]
    voice: Hosted[HibariVoice]

    def threads(self) -> tuple[ModelThread, ...]:
        """The threads of all models, for their `statistics`."""
        return tuple(getattr(self, field.name).thread for field in fields(self))

    def close(self) -> None:
        """Drop the calls that wait and end the threads, without waiting for the calls that run."""
        self.language.thread.close(last=self.language.model.close)
        for thread in self.threads():
            thread.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Library(AnsweringLibrary):
    """The models that answer, and the ears."""

    voice_activity: Hosted[SileroModel]
    turn_end: Hosted[SmartTurn]


async def load_library(store: ModelStore, *, progress: Callable[[str], None]) -> Library:
    """Load all models at once, each on its thread, and use each a first time, which is slow.

    ``progress`` is told of each that gets ready.

    Raises:
        ModelError: a file is missing or damaged, or cannot be loaded.
    """
    host = _Host(progress, models=len(fields(Library)))
    return await _loaded(host, _load_all(host, store))


async def load_answering_library(store: ModelStore, *, progress: Callable[[str], None]) -> AnsweringLibrary:
    """As `load_library`, without the ears.

    Raises:
        ModelError: a file is missing or damaged, or cannot be loaded.
    """
    host = _Host(progress, models=len(fields(AnsweringLibrary)))
    return await _loaded(host, _load_answering(host, store))


async def load_voice_activity(store: ModelStore, *, progress: Callable[[str], None]) -> Hosted[SileroModel]:
    """Load the voice detector alone. Whoever loaded it closes its thread.

    Raises:
        ModelError: its file is missing or damaged, or cannot be loaded.
    """
    host = _Host(progress, models=1)
    with ExitStack() as on_failure:
        on_failure.callback(host.close)
        voice_activity = await host.load("voice activity", lambda: _load_silero(store))
        on_failure.pop_all()
    return voice_activity


async def _loaded[L](host: _Host, loading: Awaitable[L]) -> L:
    with ExitStack() as on_failure:
        on_failure.callback(host.close)
        library = await _first_failure(loading)
        on_failure.pop_all()
    await asyncio.to_thread(_return_free_memory)
    return library


async def _first_failure[L](loading: Awaitable[L]) -> L:
    """Of those that fail together, the one that a person can be told."""
    try:
        return await loading
    except ExceptionGroup as failures:
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


async def _load_all(host: _Host, store: ModelStore) -> Library:
    async with asyncio.TaskGroup() as group:
        voice_activity = group.create_task(host.load("voice activity", lambda: _load_silero(store)))
        turn_end = group.create_task(host.load("turn end", lambda: _load_smart_turn(store)))
        answering = group.create_task(_load_answering(host, store))
    rest = answering.result()
    return Library(
        voice_activity=voice_activity.result(),
        turn_end=turn_end.result(),
        speech_to_text=rest.speech_to_text,
        embedder=rest.embedder,
        language=rest.language,
        voice=rest.voice,
    )


async def _load_answering(host: _Host, store: ModelStore) -> AnsweringLibrary:
    async with asyncio.TaskGroup() as group:
        speech_to_text = group.create_task(host.load("speech to text", lambda: _load_moonshine(store)))
        embedder = group.create_task(host.load("embedder", lambda: _load_minilm(store)))
        language = group.create_task(host.load("language", lambda: _load_smollm2(store)))
        voice = group.create_task(host.load("voice", _load_hibari))
    return AnsweringLibrary(
        speech_to_text=speech_to_text.result(),
        embedder=embedder.result(),
        language=language.result(),
        voice=voice.result(),
    )


class _Host:
    """Gives each model a thread, and knows them all should one of them fail."""

    def __init__(self, progress: Callable[[str], None], *, models: int) -> None:
        self._progress = progress
        self._models = models
        self._threads: list[ModelThread] = []
        self._ready = 0

    async def load[M](self, name: str, load: Callable[[], M]) -> Hosted[M]:
        thread = ModelThread(name)
        self._threads.append(thread)
        hosted = Hosted(await thread.run(load), thread)
        self._ready += 1
        self._progress(f"{name} is ready ({self._ready} of {self._models} models)")
        return hosted

    def close(self) -> None:
        for thread in self._threads:
            thread.close()


def _return_free_memory() -> None:
    """Loading leaves about 100 MB behind that glibc would keep for itself; other systems see to this themselves."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


# -- each model, loaded and used once as it will be used in a conversation -------------------------------------------


def _load_silero(store: ModelStore) -> SileroModel:
    model = SileroModel(store.path("voice_activity"))
    model.detector().probability(_murmur()[:VAD_FRAME_SAMPLES])
    return model


def _load_smart_turn(store: ModelStore) -> SmartTurn:
    model = SmartTurn(store.path("turn_end"))
    model.completeness(_murmur())
    return model


def _load_moonshine(store: ModelStore) -> Moonshine:
    encoder, *others = (store.path(f"speech_{part}") for part in ("encoder", "decoder", "vocabulary"))
    assert all(other.parent == encoder.parent for other in others)
    model = Moonshine(encoder.parent)
    model.transcribe(_murmur(), draft=range(100, 110))
    return model


def _load_minilm(store: ModelStore) -> MiniLM:
    model = MiniLM(store.path("embedder"), store.path("embedder_vocabulary"))
    model.embed(["what time is it in the city of london"])
    return model


def _load_smollm2(store: ModelStore) -> SmolLM2:
    model = SmolLM2(store.path("language"))
    model.generate("User: what time is it\nCall:", max_tokens=4, json_schema={"type": "object"})
    return model


def _load_hibari() -> HibariVoice:
    model = HibariVoice()
    model.speak("Warming up takes 1 moment for Grzymkowski.")  # a number, and a word of no dictionary
    return model


def _murmur() -> Samples:
    """A little noise that lasts as long as a question."""
    random = np.random.default_rng(0)
    return random.normal(0.0, 0.02, WARM_UP_SEC * SPEECH_SAMPLE_RATE).astype(np.float32)
