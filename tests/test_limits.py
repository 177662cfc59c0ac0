"""How fast a session's events are read, and when it ends by itself."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from websockets.asyncio.client import connect

from edge_client.conversation import MessageItem
from edge_client.limits import LimitSettings
from edge_client.realtime.session_clock import SessionClock
from edge_client.realtime.session_watch import FAREWELL_SEC, watch_session
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
from edge_client.webrtc.event_pace import SAVED_SEC, EventPace
from routing.turns import REPLY_SAMPLE_RATE
from tests.edge import running_edge
from tests.virtual_time import on_virtual_time

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


async def told_and_dismissed(watch: SessionClock) -> list[tuple[str, float]]:
    """What is done about a session, and when."""
    now, done = asyncio.get_running_loop().time, list[tuple[str, float]]()
    await watch_session(
        watch,
        tell=lambda farewell: done.append((f"told {farewell.code}", now())),
        dismiss=lambda farewell: done.append(("dismissed", now())),
    )
    return done


@on_virtual_time
async def test_the_caller_is_told_before_the_session_ends() -> None:
    watch = SessionClock(LimitSettings(longest_session_sec=3600), now=0.0)
    assert await told_and_dismissed(watch) == [("told session_expired", 3600.0), ("dismissed", 3600 + FAREWELL_SEC)]


@on_virtual_time
async def test_a_session_that_came_from_elsewhere_has_what_is_left() -> None:
    watch = SessionClock(LimitSettings(longest_session_sec=3600), now=0.0, lasted_sec=3000.0)
    assert await told_and_dismissed(watch) == [("told session_expired", 600.0), ("dismissed", 600 + FAREWELL_SEC)]


@on_virtual_time
async def test_an_idle_session_is_looked_at_when_it_may_be_over() -> None:
    watch = SessionClock(LimitSettings(idle_sec=60), now=0.0)
    asyncio.get_running_loop().call_later(50.0, watch.asked, 50.0)
    asyncio.get_running_loop().call_later(100.0, watch.happened, UserStarted("item", 0), 100.0)
    asyncio.get_running_loop().call_later(500.0, watch.happened, UserStopped("item", 0), 500.0)
    (told, told_at), (dismissed, _) = await told_and_dismissed(watch)
    assert (told, dismissed) == ("told session_idle", "dismissed")
    assert 560 <= told_at <= 620


@on_virtual_time
async def test_nobody_watches_where_there_are_no_limits() -> None:
    assert await told_and_dismissed(SessionClock(LimitSettings(), now=0.0)) == []


# -- over a WebSocket --------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_an_idle_session_ends_with_an_event_and_a_reason(nothing_left_behind: None) -> None:
    async with running_edge(limits={"idle_sec": 0.1}) as edge, connect(edge.socket_url, proxy=None) as socket:
        events = [json.loads(event) async for event in socket]
    assert [event["type"] for event in events] == ["session.created", "error"]
    assert events[-1]["error"]["code"] == "session_idle"
    assert (socket.close_code, socket.close_reason) == (1000, events[-1]["error"]["message"])


@pytest.mark.slow
async def test_a_flood_of_events_is_answered_at_its_pace(nothing_left_behind: None) -> None:
    async with running_edge(limits={"events_per_sec": 5}) as edge, connect(edge.socket_url, proxy=None) as socket:
        for number in range(60):
            await socket.send(json.dumps({"type": "nonsense", "event_id": str(number)}))
        assert json.loads(await socket.recv())["type"] == "session.created"
        faults = [json.loads(await socket.recv())["error"] for _ in range(53)]
    codes = [fault["code"] for fault in faults]
    assert codes.count("rate_limit_exceeded") == 1
    assert codes[:50] == ["unknown_event"] * 50
    assert [fault["event_id"] for fault in faults if fault["code"] == "unknown_event"] == [str(n) for n in range(52)]
