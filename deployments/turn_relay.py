"""A turn at the ingress: between the caller's connection and the replica that answers, or the next if that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol

from deployments.served_turn import WHOLE_TURN, refusal
from deployments.turn_ledger import SecondTelling, TurnLedger
from routing.errors import AtCapacity, BackendError, BackendUnavailable
from routing.wire import Message, Refused, decode, encode

logger = logging.getLogger(__name__)

ELSEWHERE = {"at_capacity", "unavailable"}  # refusals that another replica need not share


class Seat(Protocol):
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


class Seats(Protocol):
    """All replicas there are."""

    def reserve(self, session_id: str, *, avoid: frozenset[str]) -> AbstractAsyncContextManager[Seat]:
        """A place for a turn of this session, at the replica that remembers it unless that is to be avoided.

        Raises:
            BackendUnavailable: there was none in time.
        """
        ...


class TurnRelay:
    """Passes messages on in both directions. Where a replica dies or is full, another one goes on in its place."""

    def __init__(
        self, ledger: TurnLedger, seats: Seats, *, tries: int, send: Callable[[bytes], Awaitable[None]]
    ) -> None:
        self._ledger = ledger
        self._seats = seats
        self._tries = tries
        self._send = send
        self._unsent: list[bytes] = []
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
            attempt = WHOLE_TURN if isinstance(error, AtCapacity) else self._ledger.attempt
            await self._send(encode(refusal(attempt, error)))

    async def _find_a_replica(self) -> None:
        """One after the other, until the turn is over.

        Raises:
            BackendError: none of those that were tried could answer.
        """
        tried: frozenset[str] = frozenset()
        fault: BackendError = BackendUnavailable("there is no replica")
        while len(tried) < self._tries:
            try:
                async with self._seats.reserve(self._ledger.session_id, avoid=tried) as seat:
                    if seat.replica in tried:
                        break  # there is no other
                    tried |= {seat.replica}
                    return await self._sit(seat)
            except (AtCapacity, BackendUnavailable) as error:
                logger.info("a turn looks for another replica: %s", error)
                fault = error
        raise fault

    async def _sit(self, seat: Seat) -> None:
        """The turn at one replica, to its end.

        Raises:
            AtCapacity, BackendUnavailable: another one should be asked.
            BackendError: no other one can help.
        """
        second = self._ledger.second_telling()
        self._unsent = self._ledger.again()
        self._news.set()
        async with aclosing(seat.converse(self._ledger.opening)) as told:
            await self._pass_on(await anext(told, []), second)  # the welcome: from now on the replica takes messages
            sending = asyncio.create_task(self._keep_sending(seat))
            try:
                async for messages in told:
                    await self._pass_on(messages, second)
            finally:
                sending.cancel()
                await asyncio.wait([sending])

    async def _pass_on(self, messages: list[bytes], second: SecondTelling) -> None:
        for data in messages:
            message = decode(data)
            if isinstance(message, Refused) and message.code in ELSEWHERE:
                raise error_of(message)
            for rest in second.pass_on(message, data):
                self._ledger.tell(rest)
                await self._send(rest)

    async def _keep_sending(self, seat: Seat) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            messages, self._unsent = self._unsent, []
            try:
                await seat.send(messages)
            except BackendUnavailable as error:
                logger.info("a replica does not listen: %s", error)
                return  # it does not speak either, which ends its part of the turn


def error_of(refused: Refused) -> AtCapacity | BackendUnavailable:
    """The refusal as it was raised at the replica."""
    if refused.code == "at_capacity":
        return AtCapacity(refused.message, retry_after_sec=refused.retry_after_sec or 1.0)
    return BackendUnavailable(refused.message)
