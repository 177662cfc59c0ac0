"""Calls that were answered and have no sound yet. An offer costs its sender nothing, so they may not keep others out.

Sans-I/O; time is passed in, in seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edge_client.realtime.guard import Reason, TooManyRequests, Visitor

CONNECTING_SEC = 2.0  # within which an honest call has sound, nearly always; that long its place is its own
FEWEST_MORE = 2  # calls that somebody has more than another, to have to make room
RETRY_SEC = 1.0


type Names = Callable[[Visitor], list[str]]


@dataclass(frozen=True, slots=True)
class HalfOpenCall:
    """``is_settled`` tells whether it has sound or has ended; ``give_way`` frees its place at once."""

    visitor: Visitor
    answered_at: float
    is_settled: Callable[[], bool]
    give_way: Callable[[], None]


class HalfOpenCalls:
    """Those of one edge; of one address there may be ``per_address``, 0 is no limit."""

    def __init__(self, *, per_address: int, on_refused: Callable[[Reason], None] = lambda reason: None) -> None:
        self._per_address = per_address
        self._on_refused = on_refused
        self._calls: list[HalfOpenCall] = []  # the oldest first
        self._answering: Counter[str] = Counter()  # calls of each address

    def __len__(self) -> int:
        self.forget_settled()
        return len(self._calls)

    @contextmanager
    def answering(self, address: str) -> Iterator[None]:
        """In the block an offer is answered, so that nobody dials without end who never picks up.

        Raises:
            TooManyRequests: this address has as many half-open calls as it may have, those included.
        """
        self._expect_few(address)
        self._answering[address] += 1
        try:
            yield
        finally:
            self._answering[address] -= 1
            if not self._answering[address]:
                del self._answering[address]

    def _expect_few(self, address: str) -> None:
        self.forget_settled()
        connecting = self._answering[address] + sum(call.visitor.address == address for call in self._calls)
        if self._per_address and connecting >= self._per_address:
            self._on_refused("address_connecting")
            message = f"expected at most {self._per_address} calls of one address to be connecting, got another"
            raise TooManyRequests(message, reason="address_connecting", retry_after_sec=RETRY_SEC)

    def add(self, call: HalfOpenCall) -> None:
        self._calls.append(call)

    def make_room(self, visitor: Visitor, now: float) -> bool:
        """Let one give way to a caller who has found no place; returns whether one did.

        That is the oldest one that has taken longer than honest calls do. Or else the oldest of the address, or of the
        key, that has most of them, if that is two more than this caller has: so a crowd of honest callers, who come
        from everywhere, waits for places, and nobody loses one that is about to be used.
        """
        self.forget_settled()
        call = self._overdue(now) or self._of_crowd(visitor, _addresses) or self._of_crowd(visitor, _holders)
        if call is None:
            return False
        self._calls.remove(call)
        call.give_way()
        return True

    def _overdue(self, now: float) -> HalfOpenCall | None:
        return next((call for call in self._calls if now - call.answered_at >= CONNECTING_SEC), None)

    def _of_crowd(self, visitor: Visitor, names: Names) -> HalfOpenCall | None:
        counts = Counter(name for call in self._calls for name in names(call.visitor))
        own = max((counts.pop(name, 0) for name in names(visitor)), default=0)
        crowd, most = next(iter(counts.most_common(1)), ("", 0))
        if most < own + FEWEST_MORE:
            return None
        return next(call for call in self._calls if crowd in names(call.visitor))

    def forget_settled(self) -> None:
        """Let go of those that have sound, or have ended: what is kept here keeps a connection in memory."""
        self._calls = [call for call in self._calls if not call.is_settled()]


def _addresses(visitor: Visitor) -> list[str]:
    return visitor.addresses


def _holders(visitor: Visitor) -> list[str]:
    return visitor.holders
