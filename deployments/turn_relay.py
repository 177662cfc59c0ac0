"""A turn at the ingress: between the caller's connection and the replica that answers, or the next if that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol, TypeGuard

from deployments.first_ended import first_ended
from deployments.relay_trace import RelayTrace, ReplicaRequest
from deployments.served_turn import WHOLE_TURN
from deployments.turn_ledger import SecondTelling, TurnLedger
from routing.errors import AtCapacity, BackendError, BackendUnavailable
from routing.refusal import error_of, refusal
from routing.wire import Message, Refused, decode, encode

logger = logging.getLogger(__name__)

ELSEWHERE = {"at_capacity", "unavailable"}  # refusals that another replica need not share


class Place(Protocol):
    """A place that is held for the turn at one replica."""

    replica: str

    def converse(self, opening: bytes) -> AsyncGenerator[list[bytes]]:
        """Take the place. Yields what the replica tells, all that there is at once; closing it cancels the turn there.

        Raises:
            BackendUnavailable: the replica is gone.
        """
        ...

    async def send(self, messages: list[bytes]) -> None:
        """Tell the replica what the caller's side says.

        Raises:
            BackendUnavailable: the replica is gone.
        """
        ...


class Places(Protocol):
    """All replicas there are."""

    def reserve(self, session_id: str, *, avoid: frozenset[str]) -> AbstractAsyncContextManager[Place]:
        """A place for a turn of this session, at the replica that remembers it unless that is to be avoided.

        Raises:
            BackendUnavailable: there was none in time.
        """
        ...


class TurnRelay:
    """Passes messages on in both directions. Where a replica dies or is full, another one goes on in its place.

    Args:
        trace: is told what became of each replica
        tries: how many replicas are asked at most
        welcome_sec: how long each may take to welcome the turn
        send: tells the caller's side an encoded message
    """

    def __init__(
        self,
        ledger: TurnLedger,
        places: Places,
        *,
        trace: RelayTrace,
        tries: int,
        welcome_sec: float,
        send: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self._ledger = ledger
        self._places = places
        self._trace = trace
        self._tries = tries
        self._welcome_sec = welcome_sec
        self._send = send
        self._unsent: list[bytes] = []  # bounded by the longest turn that the wire lets through
        self._news = asyncio.Event()

    def say(self, message: Message, data: bytes) -> None:
        """The caller's side says this; ``data`` is the message encoded."""
        self._ledger.say(message, data)
        self._unsent.append(data)
        self._news.set()

    async def run(self) -> None:
        """Return when the turn is over. Cancelling it cancels the turn at the replica too."""
        try:
            await self._find_a_replica()
        except BackendError as error:
            self._trace.fail(error, _now())
            await self._send(encode(refusal(WHOLE_TURN, error)))

    async def _find_a_replica(self) -> None:
        """One after the other, until the turn is over.

        Raises:
            BackendError: none of those that were tried could answer.
        """
        tried: set[str] = set()
        fault: BackendError | None = None
        for _ in range(self._tries):
            request = self._trace.seek(_now())
            try:
                async with self._places.reserve(self._ledger.session_id, avoid=frozenset(tried)) as place:
                    if place.replica in tried:
                        request.fail(BackendUnavailable("there is no other replica"), _now())
                        break
                    tried.add(place.replica)
                    return await self._take(place, request)
            except (AtCapacity, BackendUnavailable) as error:
                if self._ledger.is_over:
                    return None
                request.fail(error, _now())
                logger.info("a turn looks for another replica: %s", error)
                fault = fault if isinstance(fault, AtCapacity) else error  # it says when to come back
        raise fault or BackendUnavailable("there is no replica")

    async def _take(self, place: Place, request: ReplicaRequest) -> None:
        """The turn at one replica, to its end.

        Raises:
            AtCapacity, BackendUnavailable: another one should be asked.
            BackendError: no other one can help.
        """
        request.found(place.replica, _now())
        second = self._ledger.second_telling()
        self._unsent = self._ledger.again()
        self._news.set()
        async with aclosing(place.converse(self._ledger.opening(request.carrier))) as told:
            welcome = await self._welcome(told)
            request.welcomed(_now())
            await self._pass_on(welcome, second)  # from now on the replica takes messages
            await first_ended(self._keep_telling(told, second), self._keep_sending(place))

    async def _welcome(self, told: AsyncGenerator[list[bytes]]) -> list[bytes]:
        try:
            async with asyncio.timeout(self._welcome_sec):
                return await anext(told, [])
        except TimeoutError as error:
            message = f"expected a welcome within {self._welcome_sec:g} s, the replica said nothing"
            raise BackendUnavailable(message) from error

    async def _keep_telling(self, told: AsyncGenerator[list[bytes]], second: SecondTelling) -> None:
        async for messages in told:
            await self._pass_on(messages, second)

    async def _pass_on(self, messages: list[bytes], second: SecondTelling) -> None:
        for data in messages:
            message = decode(data)
            if self._is_for_another(message):
                raise error_of(message)
            for rest in second.pass_on(message):
                self._ledger.tell(rest)
                await self._send(data if rest is message else encode(rest))

    def _is_for_another(self, message: Message) -> TypeGuard[Refused]:
        """Whether this replica cannot answer, and another may."""
        if not isinstance(message, Refused) or message.code not in ELSEWHERE:
            return False
        return message.attempt in {WHOLE_TURN, self._ledger.attempt}  # else it was rolled back

    async def _keep_sending(self, place: Place) -> None:
        """Until cancelled.

        Raises:
            BackendUnavailable: the replica does not listen, whether or not it still speaks.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            messages, self._unsent = self._unsent, []
            await place.send(messages)


def _now() -> float:
    return asyncio.get_running_loop().time()
