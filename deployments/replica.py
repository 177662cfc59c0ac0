"""A replica: a thin shell around one model, and the turns that it answers at the moment."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any

from ray import serve

from deployments.autoscaling import as_stats
from deployments.model import Model
from deployments.models import find_model
from deployments.served_turn import WHOLE_TURN, ServedTurn
from routing.errors import AtCapacity
from routing.load import Load
from routing.refusal import refusal
from routing.turns import Turn
from routing.wire import Open, Welcome, decode, encode

RETRY_AFTER_SEC = 1.0  # a place is free again when somebody's turn ends


class Replica:
    """Loaded when Ray says that it runs: not before the model is warm does the constructor end."""

    async def __init__(  # type: ignore[misc]  # Ray awaits it
        self, model: str, settings: dict[str, Any], maximum_turns: int
    ) -> None:
        self._maximum_turns = maximum_turns
        self._turns: dict[str, ServedTurn] = {}
        self._refused = 0
        self._leaving = asyncio.Event()
        opened: asyncio.Future[Model] = asyncio.get_running_loop().create_future()
        self._keeping = asyncio.create_task(self._keep(model, settings, opened))
        self._model = await opened

    async def _keep(self, name: str, settings: dict[str, Any], opened: asyncio.Future[Model]) -> None:
        """Hold the model open: what is entered in one task must be left in the same."""
        try:
            async with find_model(name)(settings) as model:
                opened.set_result(model)
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
        served = self._turns[key] = ServedTurn(turn, self._model.backend, on_error=self._note_error)
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
        self._refused += isinstance(error, AtCapacity)

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
