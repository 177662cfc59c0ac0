"""Places for turns at the replicas behind a Serve handle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any
from uuid import uuid4

import grpc
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle, ReplicaSelection

from routing.errors import BackendUnavailable
from routing.load import Load

SEND_SEC = 5.0  # a replica that takes longer to listen is gone, or as good as gone
ASK_ALL_SEC = 2.0


class ServeSeats:
    """The replicas of one deployment. See `deployments.turn_relay.Seats`."""

    def __init__(self, replicas: DeploymentHandle, *, reserve_sec: float) -> None:
        self._replicas = replicas
        self._reserve_sec = reserve_sec

    @asynccontextmanager
    async def reserve(self, session_id: str, *, avoid: frozenset[str]) -> AsyncIterator[ServeSeat]:
        """See `deployments.turn_relay.Seats`."""
        handle = self._replicas.options(method_name="converse", stream=True, session_id=session_id)
        async with AsyncExitStack() as held:
            with _as_unavailable("no replica has a place"):
                async with asyncio.timeout(self._reserve_sec):
                    selection = await held.enter_async_context(handle.choose_replica(avoid=sorted(avoid)))
            yield ServeSeat(handle, self._replicas.options(method_name="send"), selection)

    async def ask_all(self, method: str) -> list[Any]:
        """What each replica returns from a method without arguments; those that fail are left out."""
        with _as_unavailable("the replicas do not answer"):
            async with asyncio.timeout(ASK_ALL_SEC):
                answers = await self._replicas.broadcast(method).results_async(return_exceptions=True)
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    async def loads(self) -> list[Load]:
        """How full each replica is.

        Raises:
            BackendUnavailable: they do not answer.
        """
        return await self.ask_all("load")


class ServeSeat:
    """A place at one replica. See `deployments.turn_relay.Seat`."""

    def __init__(self, converse: DeploymentHandle, send: DeploymentHandle, selection: ReplicaSelection) -> None:
        self.replica: str = selection.replica_id
        self._converse = converse
        self._send = send
        self._selection = selection
        self._key = uuid4().hex

    async def converse(self, opening: bytes) -> AsyncGenerator[list[bytes]]:
        """See `deployments.turn_relay.Seat`."""
        with _as_unavailable(f"the replica {self.replica} is gone"):
            told = self._converse.dispatch(self._selection, self._key, opening)
            try:
                async for messages in told:
                    yield messages
            finally:
                told.cancel()  # nothing else stops the replica

    async def send(self, messages: list[bytes]) -> None:
        """See `deployments.turn_relay.Seat`."""
        with _as_unavailable(f"the replica {self.replica} does not listen"):
            async with asyncio.timeout(SEND_SEC):
                await self._send.remote(self._key, messages, at=self.replica)


@contextmanager
def _as_unavailable(what: str) -> Iterator[None]:
    try:
        yield
    except (RayError, RayServeException, grpc.RpcError, TimeoutError) as error:
        raise BackendUnavailable(f"{what}: {type(error).__name__}") from error
