"""Who asks too much: requests and sessions of each address, and of each holder of a credential. Sans-I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Literal

from edge_client.limits import LimitSettings
from edge_client.realtime.addresses import counted_as
from edge_client.realtime.rates import Rates
from routing.errors import AntiphonError

WRONG_KEY_UNITS = 10.0  # what guessing a key costs, beside the request
SESSION_RETRY_SEC = 5.0

type Reason = Literal["address_rate", "key_rate", "address_sessions", "key_sessions", "address_connecting"]


class TooManyRequests(AntiphonError):
    """One caller asks for more than its share. Come back after ``retry_after_sec``; others are served meanwhile."""

    def __init__(self, message: str, *, reason: Reason, retry_after_sec: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_sec = retry_after_sec


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whom a session is counted with; what is empty counts with nobody.

    Args:
        address: as `counted_as` has it
        holder: who has the credential
        issuer: who has asked for the credential, where that was another
    """

    address: str = ""
    holder: str = ""
    issuer: str = ""

    @property
    def addresses(self) -> list[str]:
        return [self.address] if self.address else []

    @property
    def holders(self) -> list[str]:
        return [name for name in (self.holder, self.issuer) if name]


NOBODY = Visitor()


class Guard:
    """Counts for one edge, or for one of its ``workers``, which has that part of all limits. Time is passed in.

    Where ``is_open`` nobody is counted: in development mode, where only this machine calls.
    """

    def __init__(
        self,
        settings: LimitSettings,
        *,
        is_open: bool,
        workers: int = 1,
        on_refused: Callable[[Reason], None] = lambda reason: None,
    ) -> None:
        self._is_open = is_open
        self._on_refused = on_refused
        per_sec = settings.requests_per_minute / 60 / workers
        saved = max(settings.requests_at_once / workers, 1 + WRONG_KEY_UNITS)
        self._addresses = Rates(per_sec=per_sec, saved=saved)
        self._holders = Rates(per_sec=per_sec, saved=saved)
        self._most_of_address = ceil(settings.sessions_per_address / workers)
        self._most_of_holder = ceil(settings.sessions_per_key / workers)
        self._of_address: Counter[str] = Counter()
        self._of_holder: Counter[str] = Counter()

    # -- requests ------------------------------------------------------------------------------------------------------

    def ask(self, address: str, now: float) -> None:
        """Count a request.

        Raises:
            TooManyRequests: by this address, of late.
        """
        if address and not self._is_open:
            self._spend(self._addresses, counted_as(address), now, "address_rate")

    def ask_as(self, holder: str, now: float) -> None:
        """Count a request by whoever has this credential.

        A client secret counts by itself, and not with the key that asked for it: whoever has one could otherwise keep
        that key, and with it all who have secrets of the same operator, from asking for anything.

        Raises:
            TooManyRequests: with it, of late.
        """
        if not self._is_open:
            self._spend(self._holders, holder, now, "key_rate")

    def _spend(self, rates: Rates, name: str, now: float, reason: Reason) -> None:
        wait_sec = rates.spend(name, now)
        if wait_sec:
            whose = "address" if reason == "address_rate" else "key"
            self._refuse(f"expected fewer requests from one {whose}, got too many of late", reason, wait_sec)

    def charge_wrong_key(self, address: str, now: float) -> None:
        """Somebody has shown a credential that opens nothing: guessing shall be slow."""
        if address and not self._is_open:
            self._addresses.charge(counted_as(address), now, WRONG_KEY_UNITS)

    # -- sessions ------------------------------------------------------------------------------------------------------

    @contextmanager
    def session(self, visitor: Visitor) -> Iterator[None]:
        """A session of this visitor, until the block ends.

        Raises:
            TooManyRequests: it has as many as it may have.
        """
        if self._is_open:
            yield
            return
        self._expect_fewer(self._of_address, visitor.addresses, self._most_of_address, "address_sessions")
        self._expect_fewer(self._of_holder, visitor.holders, self._most_of_holder, "key_sessions")
        self._of_address.update(visitor.addresses)
        self._of_holder.update(visitor.holders)
        try:
            yield
        finally:
            _take_back(self._of_address, visitor.addresses)
            _take_back(self._of_holder, visitor.holders)

    def _expect_fewer(self, counts: Counter[str], names: Iterable[str], most: int, reason: Reason) -> None:
        if most and any(counts[name] >= most for name in names):
            whose = "address" if reason == "address_sessions" else "key"
            message = f"expected at most {most} sessions of one {whose} at a time, got another"
            self._refuse(message, reason, SESSION_RETRY_SEC)

    def _refuse(self, message: str, reason: Reason, retry_after_sec: float) -> None:
        self._on_refused(reason)
        raise TooManyRequests(message, reason=reason, retry_after_sec=retry_after_sec)


def _take_back(counts: Counter[str], names: Iterable[str]) -> None:
    """Names without sessions are forgotten."""
    for name in names:
        counts[name] -= 1
        if not counts[name]:
            del counts[name]
