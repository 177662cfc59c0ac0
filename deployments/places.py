"""Places for turns at the replicas behind a Serve handle."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, NamedTuple
from uuid import uuid4

import grpc
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle, ReplicaSelection

from routing.errors import BackendUnavailable
from routing.load import Load

logger = logging.getLogger(__name__)

SEND_SEC = 5.0  # a replica that takes longer to listen is gone, or as good as gone
ASK_ALL_SEC = 2.0


class ServePlaces:
    """The replicas of one deployment. See `deployments.turn_relay.Places`."""

    def __init__(self, replicas: DeploymentHandle, *, reserve_sec: float) -> None:
        self._replicas = replicas
        self._reserve_sec = reserve_sec
        self._giving_back: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def reserve(self, session_id: str, *, avoid: frozenset[str]) -> AsyncIterator[ServePlace]:
        """See `deployments.turn_relay.Places`."""
        handle = self._replicas.options(method_name="converse", stream=True, session_id=session_id)
        reservation = asyncio.create_task(_Reservation.make(handle.choose_replica(avoid=sorted(avoid))))
        try:
            with _as_unavailable("no replica has a place"):
                async with asyncio.timeout(self._reserve_sec):
                    reserved = await asyncio.shield(reservation)
            yield ServePlace(handle, self._replicas.options(method_name="send"), reserved.selection)
        finally:
            self._give_back(reservation)

    def _give_back(self, reservation: asyncio.Task[_Reservation]) -> None:
        """When it has been made, be it long after everybody has left: an asking that is cancelled in the middle would
        keep its place for ever, and its replica could never leave.
        """
        giving_back = asyncio.create_task(_give_back(reservation))
        self._giving_back.add(giving_back)
        giving_back.add_done_callback(self._giving_back.discard)

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


class _Reservation(NamedTuple):
    """A place that is held, and what it takes to give it back."""

    selection: ReplicaSelection
    context: AbstractAsyncContextManager[ReplicaSelection]

    @classmethod
    async def make(cls, context: AbstractAsyncContextManager[ReplicaSelection]) -> _Reservation:
        return cls(await context.__aenter__(), context)


async def _give_back(reservation: asyncio.Task[_Reservation]) -> None:
    try:
        with _as_unavailable("a place was not reserved"):
            await (await reservation).context.__aexit__(None, None, None)
    except BackendUnavailable as error:
        logger.debug("nothing to give back: %s", error)


class ServePlace:
    """A place at one replica. See `deployments.turn_relay.Place`."""

    def __init__(self, converse: DeploymentHandle, send: DeploymentHandle, selection: ReplicaSelection) -> None:
        self.replica: str = selection.replica_id
        self._converse = converse
        self._send = send
        self._selection = selection
        self._key = uuid4().hex

    async def converse(self, opening: bytes) -> AsyncGenerator[list[bytes]]:
        """See `deployments.turn_relay.Place`."""
        with _as_unavailable(f"the replica {self.replica} is gone"):
            told = self._converse.dispatch(self._selection, self._key, opening)
            try:
                async for messages in told:
                    yield messages
            finally:
                told.cancel()  # nothing else stops the replica

    async def send(self, messages: list[bytes]) -> None:
        """See `deployments.turn_relay.Place`."""
        with _as_unavailable(f"the replica {self.replica} does not listen"):
            async with asyncio.timeout(SEND_SEC):
                await self._send.remote(self._key, messages, at=self.replica)


@contextmanager
def _as_unavailable(what: str) -> Iterator[None]:
    try:
        yield
    except (RayError, RayServeException, grpc.RpcError, TimeoutError) as error:
        raise BackendUnavailable(f"{what}: {type(error).__name__}") from error
