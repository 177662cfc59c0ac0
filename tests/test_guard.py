"""Who asks too much is told so; nobody else notices."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from edge_client.limits import LimitSettings
from edge_client.realtime.guard import NOBODY, Guard, TooManyRequests, Visitor
from edge_client.realtime.half_open import CONNECTING_SEC, HalfOpenCall, HalfOpenCalls
from edge_client.realtime.rates import Rates

FLOOD, CALLER = "198.51.100.1", "203.0.113.7"


def guard(*, is_open: bool = False, workers: int = 1, **limits: Any) -> Guard:
    settings = LimitSettings(**{"requests_per_minute": 60, "requests_at_once": 20, **limits})
    return Guard(settings, is_open=is_open, workers=workers)


def asked(watch: Guard, address: str, times: int, now: float = 0.0) -> int:
    """How many of the requests are let in."""
    return sum(is_let_in(watch, address, now) for _ in range(times))


def is_let_in(watch: Guard, address: str, now: float) -> bool:
    try:
        watch.ask(address, now)
    except TooManyRequests:
        return False
    return True


# -- requests ----------------------------------------------------------------------------------------------------------


def test_an_address_may_ask_so_often_and_another_one_as_well() -> None:
    watch = guard()
    assert asked(watch, FLOOD, 1000) == 20
    assert asked(watch, FLOOD, 1000, now=10.0) == 10
    assert asked(watch, CALLER, 20, now=10.0) == 20


def test_who_is_refused_is_told_when_to_come_back() -> None:
    watch = guard()
    asked(watch, FLOOD, 20)
    with pytest.raises(TooManyRequests, match="expected fewer requests from one address") as refused:
        watch.ask(FLOOD, 0.25)
    assert refused.value.retry_after_sec == pytest.approx(0.75)
    watch.ask(FLOOD, 0.25 + refused.value.retry_after_sec)


def test_the_addresses_of_one_network_count_as_one() -> None:
    watch = guard()
    assert sum(asked(watch, f"2001:db8::{number:x}", 1) for number in range(1, 100)) == 20
    assert asked(watch, "2001:db8:0:1::1", 1) == 1


def test_a_key_may_be_used_so_often_from_wherever() -> None:
    watch = guard()
    for _ in range(20):
        watch.ask_as("key-1", 0.0)
    with pytest.raises(TooManyRequests, match="one key"):
        watch.ask_as("key-1", 0.0)
    watch.ask_as("key-2", 0.0)


def test_guessing_keys_costs_more_than_asking() -> None:
    watch, guesses = guard(requests_per_minute=600, requests_at_once=100), 0
    for tenth in range(600):
        if is_let_in(watch, FLOOD, tenth / 10):
            watch.charge_wrong_key(FLOOD, tenth / 10)
            guesses += 1
    assert guesses < 100  # in a minute, of 600


def test_without_keys_nobody_is_counted() -> None:
    watch = guard(is_open=True, sessions_per_address=1)
    assert asked(watch, "127.0.0.1", 1000) == 1000
    with watch.session(Visitor("127.0.0.1")), watch.session(Visitor("127.0.0.1")):
        watch.charge_wrong_key("127.0.0.1", 0.0)
    assert asked(watch, "127.0.0.1", 1000) == 1000


def test_each_worker_has_its_share() -> None:
    watch = guard(workers=2, requests_at_once=100, sessions_per_address=3)
    assert asked(watch, FLOOD, 1000) == 50
    assert asked(watch, FLOOD, 1000, now=10.0) == 5
    with watch.session(Visitor(CALLER)), watch.session(Visitor(CALLER)), pytest.raises(TooManyRequests):
        watch.session(Visitor(CALLER)).__enter__()


def test_no_limit_is_no_limit() -> None:
    watch = guard(requests_per_minute=0)
    assert asked(watch, FLOOD, 10_000) == 10_000


def test_memory_is_bounded_and_who_asks_most_is_remembered() -> None:
    rates = Rates(per_sec=1, saved=5, most_known=100)
    for number in range(1000):
        rates.spend("often", 0.0)
        rates.spend(f"once {number}", 0.0)
    assert len(rates) == 100
    assert rates.spend("often", 0.0) > 0


# -- sessions ----------------------------------------------------------------------------------------------------------


def test_sessions_are_counted_by_address() -> None:
    watch = guard(sessions_per_address=2)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(watch.session(Visitor(FLOOD)))
        with pytest.raises(TooManyRequests, match="at most 2 sessions of one address"):
            stack.enter_context(watch.session(Visitor(FLOOD)))
        stack.enter_context(watch.session(Visitor(CALLER)))
    with watch.session(Visitor(FLOOD)):
        pass


def test_a_secret_counts_with_the_key_that_asked_for_it() -> None:
    watch = guard(sessions_per_key=2)
    with (
        watch.session(Visitor(CALLER, "key-1")),
        watch.session(Visitor(FLOOD, "secret-1", issuer="key-1")),
        watch.session(Visitor(FLOOD, "key-2")),
    ):
        for visitor in (Visitor(CALLER, "key-1"), Visitor(CALLER, "secret-2", issuer="key-1")):
            with pytest.raises(TooManyRequests, match="at most 2 sessions of one key"), watch.session(visitor):
                pass


def test_nobody_counts_with_nobody() -> None:
    watch = guard(sessions_per_address=1, sessions_per_key=1)
    with watch.session(NOBODY), watch.session(NOBODY):
        pass


# -- calls without sound -----------------------------------------------------------------------------------------------


class Dialling:
    """Calls that never connect, unless `settled` has them."""

    def __init__(self, *, per_address: int = 0) -> None:
        self.calls = HalfOpenCalls(per_address=per_address)
        self.gave_way: list[str] = []
        self.settled: set[str] = set()

    def dial(self, name: str, address: str, now: float, holder: str = "") -> None:
        call = HalfOpenCall(
            Visitor(address, holder), now, lambda: name in self.settled, lambda: self.gave_way.append(name)
        )
        with self.calls.answering(address):
            self.calls.add(call)


def test_who_takes_too_long_to_connect_gives_way() -> None:
    dialling = Dialling()
    dialling.dial("first", CALLER, 0.0)
    dialling.dial("second", CALLER, 0.5)
    assert not dialling.calls.make_room(Visitor(CALLER), CONNECTING_SEC - 0.1)  # an honest crowd waits for places
    assert dialling.calls.make_room(Visitor(CALLER), CONNECTING_SEC)
    assert dialling.gave_way == ["first"]


def test_a_flood_from_one_address_gives_way_to_another_address_but_not_to_itself() -> None:
    dialling = Dialling()
    dialling.dial("honest", CALLER, 0.0)
    for number in range(10):
        dialling.dial(f"flood {number}", FLOOD, 0.0)
    assert not dialling.calls.make_room(Visitor(FLOOD), 0.1)
    assert dialling.calls.make_room(Visitor(CALLER), 0.1)
    assert dialling.calls.make_room(Visitor("192.0.2.1"), 0.1)
    assert dialling.gave_way == ["flood 0", "flood 1"]


def test_a_flood_with_one_key_from_everywhere_gives_way_to_another_key() -> None:
    dialling = Dialling()
    dialling.dial("honest", CALLER, 0.0, "key-1")
    for number in range(10):
        dialling.dial(f"flood {number}", f"198.51.100.{number}", 0.0, "key-2")
    assert not dialling.calls.make_room(Visitor("198.51.100.99", "key-2"), 0.1)
    assert dialling.calls.make_room(Visitor("192.0.2.1", "key-1"), 0.1)
    assert dialling.gave_way == ["flood 0"]


def test_an_honest_crowd_waits_for_places() -> None:
    dialling = Dialling()
    for number in range(10):
        dialling.dial(str(number), f"203.0.113.{number}", 0.0, f"secret-{number}")
    assert not dialling.calls.make_room(Visitor("192.0.2.1", "secret-99"), 0.1)


def test_who_is_connected_stays() -> None:
    dialling = Dialling()
    dialling.dial("first", FLOOD, 0.0)
    dialling.settled.add("first")
    assert not dialling.calls.make_room(Visitor(CALLER), 100.0)
    assert len(dialling.calls) == 0


def test_so_many_calls_of_one_address_may_be_connecting() -> None:
    dialling = Dialling(per_address=2)
    dialling.dial("first", FLOOD, 0.0)
    dialling.dial("second", FLOOD, 0.0)
    with pytest.raises(TooManyRequests, match="at most 2 calls of one address"):
        dialling.dial("third", FLOOD, 0.0)
    dialling.dial("other", CALLER, 0.0)
    dialling.settled.add("first")
    dialling.dial("third", FLOOD, 0.0)


def test_calls_that_are_being_answered_count_already() -> None:
    calls = HalfOpenCalls(per_address=2)
    with (
        calls.answering(FLOOD),
        calls.answering(CALLER),
        calls.answering(FLOOD),
        pytest.raises(TooManyRequests),
        calls.answering(FLOOD),
    ):
        pass
    with calls.answering(FLOOD), calls.answering(FLOOD):
        pass
