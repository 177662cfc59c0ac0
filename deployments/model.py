"""What a replica runs: a backend, and what its keeper must know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, runtime_checkable

from deployments.batch import Batch
from routing.load import Load
from routing.turns import Backend


class Model(Protocol):
    """Loaded and warm. Its work is done on threads of its own: nothing here waits for a step."""

    @property
    def backend(self) -> Backend:
        """Answers turns."""
        ...

    def check_health(self) -> None:
        """Look whether it still works.

        Raises:
            BackendError: it is stuck or broken, and its replica should be replaced.
        """
        ...

    def load(self) -> Load:
        """How full it is now."""
        ...


@runtime_checkable
class Batching(Protocol):
    """A model that works on several turns in one go. A `Model` may be one."""

    def batch_sizes(self) -> Mapping[int, int]:
        """How many batches there were of each size, since it was opened."""
        ...


@runtime_checkable
class Stepping(Protocol):
    """A model that makes replies step by step, all of them at once. A `Model` may be one."""

    def step_times_ms(self) -> Mapping[int, int]:
        """How many steps took so many milliseconds, since it was opened.

        What a reply took tells less: it rests where it is ahead of its playing, or waits for its turn to be over.
        """
        ...


@runtime_checkable
class Watched(Protocol):
    """A model that tells of its batches. A `Model` may be one."""

    def watch(self, on_batch: Callable[[Batch], None]) -> None:
        """Have ``on_batch`` called on the event loop for the batches that somebody may ask about: those that ended
        somebody's waiting, and those that made others wait. Few enough to be written down, each of them.
        """
        ...


type OpenModel = Callable[[Mapping[str, Any]], AbstractAsyncContextManager[Model]]
"""Loads a model from its settings. Entering waits until it is warm; leaving frees all that it holds.

Raises (on entering):
    SettingsError: a setting is unknown or wrong.
    ModelError: its files are missing or damaged.
"""
