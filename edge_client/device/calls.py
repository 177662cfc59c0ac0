"""Asking the models on their threads; whatever they raise becomes the device's own failure."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING

from routing.errors import BackendError, BackendUnavailable, ModelError

if TYPE_CHECKING:
    from edge_client.models.library import Hosted


async def call[M, T](hosted: Hosted[M], function: Callable[[M], T]) -> T:
    """What ``function`` makes of the model, on the model's thread.

    Raises:
        BackendError: the model failed.
    """
    with _as_backend_error(hosted):
        return await hosted.thread.run(lambda: function(hosted.model))


async def stream[M, U](hosted: Hosted[M], function: Callable[[M, Callable[[U], bool]], None]) -> AsyncGenerator[U]:
    """What ``function`` emits while it works on the model's thread.

    Raises:
        BackendError: the model failed.
    """

    def work(emit: Callable[[U], bool]) -> None:
        function(hosted.model, emit)

    values = hosted.thread.stream(work)
    async with aclosing(values):
        with _as_backend_error(hosted):
            async for value in values:
                yield value


def is_busy[M](hosted: Hosted[M]) -> bool:
    """Whether others wait for this model already, so that a mere courtesy should be left out."""
    return hosted.thread.statistics().waiting > 0


@contextmanager
def _as_backend_error[M](hosted: Hosted[M]) -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        raise BackendUnavailable(str(error)) from error
    except Exception as error:  # model libraries raise what they like
        raise BackendError(f"the model {hosted.thread.name!r} failed: {error}") from error
