"""A replica: a thin shell around one model, and the turns that it answers at the moment."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any, NamedTuple

from ray import serve

from deployments.autoscaling import as_stats
from deployments.batch_trace import BatchTrace
from deployments.model import Model, Watched
from deployments.models import find_model
from deployments.process_telemetry import process_telemetry
from deployments.replica_figures import ReplicaFigures, replica_figures
from deployments.served_turn import WHOLE_TURN, ServedTurn
from routing.errors import AtCapacity
from routing.load import Load
from routing.refusal import refusal
from routing.telemetry import names
from routing.telemetry.program import Telemetry
from routing.telemetry.settings import TelemetrySettings
from routing.telemetry.traced_backend import TracedBackend
from routing.turns import Turn
from routing.wire import Open, Welcome, decode, encode

RETRY_AFTER_SEC = 1.0  # a place is free again when somebody's turn ends


class Held(NamedTuple):
    """What a replica holds open."""

    model: Model
    telemetry: Telemetry
    figures: ReplicaFigures


class Replica:
    """Loaded when Ray says that it runs: not before the model is warm does the constructor end."""

    async def __init__(  # type: ignore[misc]  # Ray awaits it
        self, model: str, settings: dict[str, Any], maximum_turns: int, telemetry: TelemetrySettings
    ) -> None:
        self._maximum_turns = maximum_turns
        self._turns: dict[str, ServedTurn] = {}
        self._refused = 0
        self._leaving = asyncio.Event()
        opened: asyncio.Future[Held] = asyncio.get_running_loop().create_future()
        self._keeping = asyncio.create_task(self._keep(model, settings, telemetry, opened))
        self._model, traces, self._figures = await opened
        self._backend = _traced(self._model, traces, self._figures)

    async def _keep(
        self, name: str, settings: dict[str, Any], traces: TelemetrySettings, opened: asyncio.Future[Held]
    ) -> None:
        """Hold it all open: what is entered in one task must be left in the same.

        The start counts from here: Ray may have had the process waiting for long.
        """
        began = time.monotonic()
        try:
            async with (
                process_telemetry(traces, service=names.REPLICA) as telemetry,
                find_model(name)(settings) as model,
                replica_figures(model, telemetry, start_sec=time.monotonic() - began) as figures,
            ):
                opened.set_result(Held(model, telemetry, figures))
                await self._leaving.wait()
        except Exception as error:
            if opened.done():
                raise
            opened.set_exception(error)

    async def __del__(self) -> None:
        """Called by Ray when the last turn is over."""
        self._leaving.set()
        await asyncio.wait([self._keeping])

    # -- turns ---------------------------------------------------------------------------------------------------------

    async def converse(self, key: str, opening: bytes, *, avoid: Iterable[str] = ()) -> AsyncGenerator[list[bytes]]:  # noqa: ARG002  read by the session router
        """Hold one turn. Yields encoded messages, all that there are at once; closing it cancels the turn.

        Args:
            key: what `send` calls this turn
            opening: the encoded `Open`
        """
        message = decode(opening)
        assert isinstance(message, Open), "the ingress lets nothing else through"
        if len(self._turns) >= self._maximum_turns:
            yield [encode(refusal(WHOLE_TURN, self._full()))]
            return
        async with aclosing(self._serve(key, message.turn)) as told:
            async for messages in told:
                yield messages

    async def _serve(self, key: str, turn: Turn) -> AsyncGenerator[list[bytes]]:
        served = self._turns[key] = ServedTurn(turn, self._backend, on_error=self._note_error)
        try:
            yield [encode(Welcome(serve.get_replica_context().replica_id.unique_id))]  # `send` finds the turn from now
            async with aclosing(served.told()) as told:
                async for messages in told:
                    yield messages
        finally:
            del self._turns[key]

    async def send(self, key: str, messages: list[bytes], *, at: str) -> None:  # noqa: ARG002  read by the session router
        """What the caller's side says next in a turn. A turn that is over needs nothing any more."""
        if served := self._turns.get(key):
            served.take(map(decode, messages))

    def _full(self) -> AtCapacity:
        message = f"expected fewer than {self._maximum_turns} turns, all places are taken"
        error = AtCapacity(message, retry_after_sec=RETRY_AFTER_SEC)
        self._note_error(error)
        return error

    def _note_error(self, error: Exception) -> None:
        if isinstance(error, AtCapacity):
            self._refused += 1
            self._figures.refuse()

    # -- its keeper ----------------------------------------------------------------------------------------------------

    async def check_health(self) -> None:
        """Called by Ray now and then.

        Raises:
            BackendError: the model is stuck; Ray replaces the replica.
        """
        self._model.check_health()

    async def load(self) -> Load:
        """How full it is."""
        return self._model.load()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Ray for the autoscaling policy."""
        return as_stats(self._model.load(), self._refused)

    async def about(self) -> dict[str, Any]:
        """Who it is, for those who run tests and demonstrations."""
        return {
            "replica": serve.get_replica_context().replica_id.unique_id,
            "pid": os.getpid(),
            "turns": len(self._turns),
        }


def _traced(model: Model, telemetry: Telemetry, figures: ReplicaFigures) -> TracedBackend:
    """The model's backend, with its turns and its batches written down and counted."""
    spans = telemetry.spans(names.REPLICA)
    backend = TracedBackend(
        model.backend,
        spans=spans,
        kind="server",
        state=figures.state,
        on_attempt=figures.take,
        content=telemetry.content,
    )
    if isinstance(model, Watched):
        model.watch(BatchTrace(spans, backend).write)
    return backend
