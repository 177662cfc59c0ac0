"""When a circuit opens, how it closes again, and who is let through in between."""

from __future__ import annotations

from routing.breaker import Breaker


def opened(**options: float) -> Breaker:
    """A circuit that opened at 0."""
    breaker = Breaker(failures=1, open_sec=1.0, **options)
    breaker.note_failure(0.0)
    return breaker


def test_failures_in_a_row_open_the_circuit_and_a_success_between_them_does_not() -> None:
    breaker = Breaker(failures=3)
    for _ in range(2):
        breaker.note_failure(0.0)
    breaker.note_success()
    for _ in range(2):
        breaker.note_failure(0.0)
    assert breaker.why_not(0.0) is None
    breaker.note_failure(0.0)
    assert breaker.why_not(0.0) == "circuit open"


def test_half_open_exactly_one_turn_is_let_through() -> None:
    breaker = opened()
    assert breaker.why_not(0.9) == "circuit open"
    assert (breaker.state(1.0), breaker.why_not(1.0)) == ("half open", None)
    breaker.note_asked(1.0)
    assert breaker.why_not(1.1) == "circuit open"
    breaker.note_success()
    assert (breaker.state(1.2), breaker.why_not(1.2)) == ("closed", None)


def test_every_probe_that_fails_keeps_it_open_twice_as_long_up_to_a_bound() -> None:
    breaker = opened(longest_sec=5.0)
    now, waits = 0.0, []
    for _ in range(5):
        since = now
        while breaker.why_not(now):
            now += 0.5
        waits.append(now - since)
        breaker.note_asked(now)
        breaker.note_failure(now)
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_turns_that_were_under_way_when_it_opened_do_not_keep_it_open_for_longer() -> None:
    breaker = opened()
    for _ in range(10):
        breaker.note_failure(0.5)
    assert breaker.why_not(1.0) is None


def test_after_a_success_the_next_wait_is_short_again() -> None:
    breaker = opened()
    breaker.note_asked(1.0)
    breaker.note_failure(1.0)
    breaker.note_success()
    breaker.note_failure(10.0)
    assert breaker.why_not(11.0) is None


def test_a_probe_that_told_nothing_makes_way_for_another() -> None:
    breaker = opened(probe_sec=15.0)
    breaker.note_asked(1.0)
    breaker.note_let_go()
    assert breaker.why_not(1.1) is None
    breaker.note_asked(2.0)
    assert [breaker.why_not(now) for now in (16.9, 17.0)] == ["circuit open", None]


def test_a_heartbeat_after_silence_opens_it_half_way_at_once() -> None:
    breaker = opened()
    breaker.note_silence()
    breaker.note_heartbeat(0.2)
    assert (breaker.state(0.2), breaker.why_not(0.2)) == ("half open", None)


def test_heartbeats_that_came_all_the_while_are_no_news() -> None:
    breaker = opened()
    breaker.note_heartbeat(0.2)
    assert breaker.why_not(0.2) == "circuit open"


def test_one_that_is_full_is_left_alone_for_as_long_as_it_asked_and_no_failure_is_counted() -> None:
    breaker = Breaker(failures=1, longest_sec=60.0)
    breaker.hold(3.0, 10.0)
    assert [breaker.why_not(now) for now in (10.0, 12.9, 13.0)] == ["at capacity", "at capacity", None]
    assert breaker.state(11.0) == "closed"
    breaker.hold(1e9, 20.0)
    assert breaker.why_not(80.0) is None
