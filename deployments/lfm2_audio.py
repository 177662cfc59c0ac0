"""LFM2-Audio as a model of a replica: the engine, and what its keeper must know of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from deployments.attendance import Attendance, AttendedBackend
from deployments.batch import Batch
from deployments.engine.settings import EngineSettings
from deployments.model_settings import settings_of
from routing.load import Load
from routing.turns import Backend

if TYPE_CHECKING:
    from deployments.engine.engine import Engine


class Lfm2Audio:
    """An engine that runs. See `deployments.model`: a `Model`, `Batching`, `Stepping` and `Watched`."""

    def __init__(self, engine: Engine, backend: Backend, *, slots: int) -> None:
        self._engine = engine
        self._slots = slots
        self._attendance = Attendance()  # without slots of its own: the engine knows best whom it must refuse
        self.backend: Backend = AttendedBackend(backend, self._attendance)

    def check_health(self) -> None:
        """Raises BackendUnavailable where a step does not end, or the engine has failed or is closed."""
        self._engine.check_health()

    def load(self) -> Load:
        """How full it is. ``slots`` are the replies that share a step."""
        scheduler = self._engine.statistics().scheduler
        now = asyncio.get_running_loop().time()
        is_full = scheduler.running >= self._slots
        before = scheduler.waiting + 1 if is_full else scheduler.waiting
        return Load(
            slots=self._slots,
            in_use=scheduler.running,
            waiting=scheduler.waiting,
            queue_wait_sec=before * self._attendance.free_after_sec(self._slots, now),
            first_audio_p95_sec=self._attendance.first_audio_p95_sec(now),
        )

    def batch_sizes(self) -> Mapping[int, int]:
        """The engine's steps, by how many turns were in each."""
        return self._engine.step_sizes()

    def step_times_ms(self) -> Mapping[int, int]:
        """Of the engine's steps that brought replies on."""
        return self._engine.step_times_ms()

    def watch(self, on_batch: Callable[[Batch], None]) -> None:
        """Tells of each step that admitted turns, and of slow ones, at most one a second."""
        self._engine.watch(on_batch)


@asynccontextmanager
async def open_lfm2_audio(settings: Mapping[str, Any]) -> AsyncIterator[Lfm2Audio]:
    """The engine, loaded and measured. ``settings`` are those of `deployments.engine.settings.EngineSettings`.

    Raises:
        SettingsError: a setting is unknown or wrong, or this machine cannot do what is asked for.
        ModelError: the checkpoint is missing, damaged, or none of LFM2-Audio.
    """
    engine_settings = settings_of(EngineSettings, settings)
    async with await asyncio.to_thread(_loaded, engine_settings) as engine:
        from deployments.engine.backend import EngineBackend

        yield Lfm2Audio(engine, EngineBackend(engine), slots=engine_settings.scheduler.maximum_running)


def _loaded(settings: EngineSettings) -> Engine:
    """PyTorch is imported here, which takes seconds: who only wants to know the settings does without."""
    from deployments.engine.loading import load_engine

    return load_engine(settings)
