"""How fast a session's events are read, and when it ends by itself."""

from __future__ import annotations

import numpy as np
import pytest

from edge_client.conversation import MessageItem
from edge_client.limits import LimitSettings
from edge_client.realtime.event_pace import SAVED_SEC, EventPace
from edge_client.realtime.session_clock import SessionClock
from edge_client.session_events import (
    PlayoutStarted,
    PlayoutStopped,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    TurnReport,
    UserStarted,
    UserStopped,
)
from routing.turns import REPLY_SAMPLE_RATE

RATE = 100.0


# -- the pace of events ------------------------------------------------------------------------------------------------


def flood(pace: EventPace, now: float, duration_sec: float, *, is_sound: bool = False) -> tuple[int, float]:
    """As many events as are read by somebody who waits as told; returns how many, and when the last wait is over."""
    end, count = now + duration_sec, 0
    while now < end:
        now += pace.read(now, is_sound=is_sound) + 1e-6
        count += 1
    return count, now


def test_a_whole_conversation_is_told_at_once_and_a_flood_at_its_pace() -> None:
    pace = EventPace(per_sec=RATE)
    assert not any(pace.read(0.0, is_sound=False) for _ in range(int(RATE * SAVED_SEC) - 1))
    count, _ = flood(pace, 0.0, 5.0)
    assert count == pytest.approx(5 * RATE, rel=0.05)


def test_a_flood_lasts_until_the_client_has_calmed() -> None:
    pace = EventPace(per_sec=RATE)
    _, now = flood(pace, 0.0, SAVED_SEC + 1)
    _, now = flood(pace, now, 70.0)
    assert pace.flood_sec(now) > 60
    now += 5.0
    pace.read(now, is_sound=False)
    assert pace.flood_sec(now) == 0


def test_sound_is_not_slowed_by_other_events() -> None:
    pace = EventPace(per_sec=RATE)
    _, now = flood(pace, 0.0, SAVED_SEC + 1)
    assert not any(pace.read(now, is_sound=True) for _ in range(1000))
    assert pace.flood_sec(now) > 0


def test_no_limit_is_no_wait() -> None:
    pace = EventPace(per_sec=0)
    assert not any(pace.read(0.0, is_sound=number % 2 == 0) for number in range(100_000))
    assert pace.flood_sec(10.0) == 0


# -- sessions that end by themselves -----------------------------------------------------------------------------------


def clock(**limits: float) -> SessionClock:
    return SessionClock(LimitSettings(**limits), now=100.0)  # type: ignore[arg-type]


def code(watch: SessionClock, now: float) -> str | None:
    farewell = watch.farewell(now)
    return farewell and farewell.code


def test_a_session_without_limits_goes_on() -> None:
    watch = clock()
    assert watch.look_again_at(1e9) is None
    assert watch.farewell(1e9) is None


def test_the_longest_session_ends_whatever_is_said() -> None:
    watch = clock(longest_session_sec=3600)
    watch.asked(3650.0)
    assert watch.look_again_at(200.0) == 3700
    assert (code(watch, 3699.9), code(watch, 3700.0)) == (None, "session_expired")


def test_who_says_nothing_is_hung_up() -> None:
    watch = clock(idle_sec=60)
    watch.asked(130.0)
    assert (code(watch, 160.0), code(watch, 190.0)) == (None, "session_idle")
    assert watch.look_again_at(160.0) == 190


def test_nobody_is_idle_who_speaks_or_hears() -> None:
    watch = clock(idle_sec=60)
    watch.happened(UserStarted("item", 0), 110.0)
    assert watch.farewell(1000.0) is None
    watch.happened(UserStopped("item", 0), 1000.0)
    watch.happened(ReplyStarted("reply"), 1010.0)
    watch.happened(PlayoutStarted("reply"), 1011.0)
    watch.happened(ReplyDone("reply", "completed", (), TurnReport(0, "turn")), 1020.0)
    assert watch.farewell(2000.0) is None
    watch.happened(PlayoutStopped("reply"), 2000.0)
    assert (code(watch, 2059.0), code(watch, 2060.0)) == (None, "session_idle")


def test_a_client_that_plays_by_itself_is_given_the_time() -> None:
    watch = clock(idle_sec=60)
    minute = np.zeros(60 * REPLY_SAMPLE_RATE, np.float32)
    watch.happened(ReplyAudio("reply", 0, MessageItem(id="item", role="assistant", medium="audio"), minute), 110.0)
    assert (code(watch, 229.0), code(watch, 230.0)) == (None, "session_idle")
