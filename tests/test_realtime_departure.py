"""When a session of a draining edge gets its ticket, and when it must go; by a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable

from edge_client.realtime.departure import LAST_CALL_SEC, MOVING_SEC, RENEWED_SEC, SETTLED_SEC, Departure, Step

DEADLINE = 300.0
TICK = 0.05


def steps(departure: Departure, mark: Callable[[float], object | None], *, until: float) -> list[tuple[float, Step]]:
    """What was to be done but wait, and when; a session that is told to leave has left."""
    done: list[tuple[float, Step]] = []
    ticks = 0
    while (now := ticks * TICK) <= until:
        step = departure.look(mark(now), now)
        if step != "wait":
            done.append((now, step))
        if step == "leave":
            break
        ticks += 1
    return done


def test_a_ticket_comes_when_the_session_has_settled_and_is_renewed_before_it_expires() -> None:
    told = steps(Departure(now=0.0, deadline=DEADLINE), lambda now: "at rest", until=100.0)
    assert [step for _, step in told] == ["ticket", "ticket"]
    assert SETTLED_SEC <= told[0][0] < SETTLED_SEC + 2 * TICK
    assert RENEWED_SEC <= told[1][0] - told[0][0] < RENEWED_SEC + 2 * TICK


def test_who_speaks_gets_none_and_another_one_after_the_turn() -> None:
    def mark(now: float) -> object | None:
        return None if 1.0 <= now < 5.0 else int(now >= 5.0)

    told = steps(Departure(now=0.0, deadline=DEADLINE), mark, until=20.0)
    assert [step for _, step in told] == ["ticket", "ticket"]
    assert told[1][0] >= 5.0 + SETTLED_SEC


def test_a_rest_that_is_too_short_is_none() -> None:
    told = steps(Departure(now=0.0, deadline=DEADLINE), lambda now: int(now / 0.1), until=20.0)
    assert told == []


def test_who_stays_is_let_go_at_rest_near_the_deadline() -> None:
    ((_, ticket), *_, (at, step)) = steps(Departure(now=0.0, deadline=60.0), lambda now: "at rest", until=60.0)
    assert (ticket, step) == ("ticket", "leave")
    assert 60.0 - LAST_CALL_SEC <= at < 60.0 - LAST_CALL_SEC + 2 * TICK


def test_a_ticket_of_the_last_moment_can_still_be_used() -> None:
    told = steps(Departure(now=0.0, deadline=60.0), lambda now: None if now < 52.0 else "at rest", until=60.0)
    (written, ticket), (left, leave) = told
    assert (ticket, leave) == ("ticket", "leave")
    assert left - written >= MOVING_SEC


def test_at_the_deadline_even_who_speaks_must_go() -> None:
    assert steps(Departure(now=0.0, deadline=60.0), lambda now: None, until=61.0) == [(60.0, "leave")]
