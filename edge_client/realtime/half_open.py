"""Calls that were answered and have no sound yet. An offer costs its sender nothing, so they may not keep others out.

Sans-I/O; time is passed in, in seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from edge_client.realtime.guard import Reason, TooManyRequests

CONNECTING_SEC = 2.0  # within which an honest call has sound, nearly always; that long its place is its own
RETRY_SEC = 1.0


@dataclass(frozen=True, slots=True)
class HalfOpenCall:
    """``is_settled`` tells whether it has sound or has ended; ``give_way`` frees its place at once."""

    address: str
    answered_at: float
    is_settled: Callable[[], bool]
    give_way: Callable[[], None]


class HalfOpenCalls:
    """Those of one edge; of one address there may be ``per_address``, 0 is no limit."""

    def __init__(self, *, per_address: int, on_refused: Callable[[Reason], None] = lambda reason: None) -> None:
        self._per_address = per_address
        self._on_refused = on_refused
        self._calls: list[HalfOpenCall] = []  # the oldest first

    def __len__(self) -> int:
        self._forget_settled()
        return len(self._calls)

    def expect_few(self, address: str) -> None:
        """Let nobody dial without end who never picks up.

        Raises:
            TooManyRequests: this address has as many half-open calls as it may have.
        """
        self._forget_settled()
        if self._per_address and self._by_address()[address] >= self._per_address:
            self._on_refused("address_connecting")
            message = f"expected at most {self._per_address} calls of one address to be connecting, got another"
            raise TooManyRequests(message, reason="address_connecting", retry_after_sec=RETRY_SEC)

    def add(self, call: HalfOpenCall) -> None:
        self._calls.append(call)

    def make_room(self, address: str, now: float) -> bool:
        """Let one give way to a caller from ``address``, who has found no place; returns whether one did.

        That is the oldest one that has taken longer than honest calls do. Or else the oldest of the address that has
        most of them, if that is more than its even share.
        """
        self._forget_settled()
        call = self._overdue(now) or self._of_crowd(address)
        if call is None:
            return False
        self._calls.remove(call)
        call.give_way()
        return True

    def _overdue(self, now: float) -> HalfOpenCall | None:
        return next((call for call in self._calls if now - call.answered_at >= CONNECTING_SEC), None)

    def _of_crowd(self, address: str) -> HalfOpenCall | None:
        counts = self._by_address()
        crowded, most = next(iter(counts.most_common(1)), ("", 0))
        share = len(self._calls) / len({*counts, address})
        if most <= share or counts[address] >= most:
            return None
        return next(call for call in self._calls if call.address == crowded)

    def _by_address(self) -> Counter[str]:
        return Counter(call.address for call in self._calls)

    def _forget_settled(self) -> None:
        self._calls = [call for call in self._calls if not call.is_settled()]
