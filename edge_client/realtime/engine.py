"""What an edge hears and answers with: the device's models, or a tone where transport alone is of interest."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from typing import NamedTuple

from edge_client.hearing import Hearing
from edge_client.models.library import load_library, load_voice_activity
from edge_client.models.store import ModelStore, default_folder
from edge_client.settings import EdgeSettings
from edge_client.tone import ToneBackend
from routing.turns import Backend

type Progress = Callable[[str], None]


class Engine(NamedTuple):
    """Loaded and warm."""

    hearing: Hearing
    backend: Backend


def open_engine(settings: EdgeSettings, *, progress: Progress) -> AbstractAsyncContextManager[Engine]:
    """The engine that ``settings`` name; ``progress`` hears of each model that gets ready.

    Raises (on entering):
        ModelError: the models are not there.
    """
    store = ModelStore(default_folder(os.environ))
    return _tone(store, progress) if settings.engine == "tone" else _device(store, settings, progress)


@asynccontextmanager
async def _device(store: ModelStore, settings: EdgeSettings, progress: Progress) -> AsyncIterator[Engine]:
    from edge_client.device.backend import DeviceBackend  # a tone needs none of it
    from edge_client.device.skills import load_skills

    with closing(await load_library(store, progress=progress)) as library:
        skills = load_skills(settings.device.skills)
        device = DeviceBackend(library=library, skills=skills, settings=settings.device)
        progress("reading the skills and the prompt")
        await device.prepare()
        yield Engine(Hearing.from_library(library), device)


@asynccontextmanager
async def _tone(store: ModelStore, progress: Progress) -> AsyncIterator[Engine]:
    voice_activity = await load_voice_activity(store, progress=progress)
    with closing(voice_activity.thread):
        yield Engine(Hearing.from_voice_activity(voice_activity), ToneBackend())
