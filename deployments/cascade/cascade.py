"""The device's models as a model of a replica: neither a GPU nor a download, and several turns at once."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from typing import Any

from deployments.attendance import Attendance, AttendedBackend
from deployments.batching import BatchStatistics
from deployments.cascade.embedder import BatchedEmbedder, open_embedder
from deployments.cascade.settings import CascadeSettings
from deployments.cascade.transcriber import RepeatableTranscriber
from deployments.cascade.workload import Workload
from deployments.model_settings import settings_of
from edge_client.device.backend import DeviceBackend
from edge_client.device.skills import SkillRegistry, load_skills
from edge_client.models.library import AnsweringLibrary, load_answering_library
from edge_client.models.store import ModelStore, default_folder
from routing.errors import BackendError, ModelError
from routing.load import Load
from routing.turns import Backend

logger = logging.getLogger(__name__)


class Cascade:
    """Models that are warm. See `deployments.model`: a `Model`, and `Batching`."""

    def __init__(
        self, backend: Backend, *, embedder: BatchedEmbedder, workload: Workload, settings: CascadeSettings
    ) -> None:
        self._embedder = embedder
        self._workload = workload
        self._settings = settings
        self._attendance = Attendance(slots=settings.slots)
        self.backend: Backend = AttendedBackend(backend, self._attendance)

    def check_health(self) -> None:
        """Raises BackendUnavailable where a model does not end a call."""
        self._workload.check(self._settings.stuck_after_sec)

    def load(self) -> Load:
        """How full it is. Nobody waits for a slot: who finds none is refused."""
        now = asyncio.get_running_loop().time()
        is_full = self._attendance.in_use >= self._settings.slots
        until_free = self._attendance.free_after_sec(self._settings.slots, now) if is_full else 0.0
        return Load(
            slots=self._settings.slots,
            in_use=self._attendance.in_use,
            queue_wait_sec=until_free + self._workload.queue_wait_sec(),
            first_audio_p95_sec=self._attendance.first_audio_p95_sec(now),
        )

    def batch_sizes(self) -> Mapping[int, int]:
        """Turns whose texts were embedded together."""
        return self._embedder.batch_sizes()

    def embedding(self) -> BatchStatistics:
        """How well turns are gathered to be embedded together."""
        return self._embedder.statistics()


@asynccontextmanager
async def open_cascade(settings: Mapping[str, Any]) -> AsyncIterator[Cascade]:
    """The models, loaded and warm. ``settings`` are those of `CascadeSettings`.

    Raises:
        SettingsError: a setting is unknown or wrong, or a module of skills cannot be had.
        ModelError: a model's file is missing or damaged, or cannot be used.
    """
    chosen = settings_of(CascadeSettings, settings)
    skills = await asyncio.to_thread(load_skills, chosen.skills)
    store = ModelStore(chosen.models or default_folder(os.environ))
    with closing(await load_answering_library(store, progress=logger.info)) as library:
        async with open_embedder(
            library.embedder, maximum_batch=chosen.maximum_batch, longest_wait_ms=chosen.longest_wait_ms
        ) as embedder:
            backend = await _prepared(library, skills, embedder, chosen)
            workload = Workload.since_now(library.threads())
            yield Cascade(backend, embedder=embedder, workload=workload, settings=chosen)


async def _prepared(
    library: AnsweringLibrary, skills: SkillRegistry, embedder: BatchedEmbedder, settings: CascadeSettings
) -> DeviceBackend:
    backend = DeviceBackend(
        library=library,
        skills=skills,
        settings=settings,
        name="cascade",
        transcriber=RepeatableTranscriber(library.speech_to_text),
        embedder=embedder,
    )
    try:
        await backend.prepare()
    except BackendError as error:
        raise ModelError(f"the models cannot be used: {error}") from error
    return backend
