"""Durations and times of day are understood as they are said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.device.clock_times import clock_time_in, say_clock_time, time_words
from edge_client.device.durations import duration_in, say_duration

NOW = datetime(2026, 11, 22, 15, 45, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("ten minutes", 600),
        ("a 10-minute timer", 600),
        ("an hour and a half", 5400),
        ("one and a half hours", 5400),
        ("half an hour", 1800),
        ("a quarter of an hour", 900),
        ("three quarters of an hour", 2700),
        ("one hour, thirty minutes and ten seconds", 5410),
        ("a couple of minutes", 120),
        ("2.5 min", 150),
        ("two days", 172_800),
        ("ninety seconds or so", 90),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    found = duration_in(time_words(text))
    assert found is not None
    assert found.seconds == seconds


@pytest.mark.parametrize("text", ["in a while", "ten", "minutes", "a half", "half past six", ""])
def test_what_is_no_duration(text: str) -> None:
    assert duration_in(time_words(text)) is None


@given(seconds=st.integers(1, 200_000))
def test_a_duration_that_is_said_is_understood(seconds: int) -> None:
    found = duration_in(time_words(say_duration(seconds)))
    assert found is not None
    assert found.seconds == seconds


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("at five", "2026-11-22 17:00"),
        ("at three", "2026-11-23 03:00"),
        ("at 5 pm", "2026-11-22 17:00"),
        ("at 5 p.m.", "2026-11-22 17:00"),
        ("at 8pm", "2026-11-22 20:00"),
        ("at 3:45 a.m.", "2026-11-23 03:45"),
        ("seven thirty in the morning", "2026-11-23 07:30"),
        ("at seven oh five tonight", "2026-11-22 19:05"),
        ("at half past six", "2026-11-22 18:30"),
        ("at a quarter to eight", "2026-11-22 19:45"),
        ("at ten past five", "2026-11-22 17:10"),
        ("at five minutes to one", "2026-11-23 00:55"),
        ("at noon", "2026-11-23 12:00"),
        ("at midnight", "2026-11-23 00:00"),
        ("at 22:10", "2026-11-22 22:10"),
        ("at six o'clock", "2026-11-22 18:00"),
        ("tomorrow at seven", "2026-11-23 07:00"),
        ("tomorrow at three", "2026-11-23 15:00"),
        ("tomorrow at half past nine pm", "2026-11-23 21:30"),
    ],
)
def test_times_of_day(text: str, moment: str) -> None:
    found = clock_time_in(time_words(text))
    assert found is not None
    assert found.next_after(NOW) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["five people", "at home", "at 75", "at half past", "what time is it", ""])
def test_what_is_no_time_of_day(text: str) -> None:
    assert clock_time_in(time_words(text)) is None


@given(minutes=st.integers(0, 24 * 60 - 1), later=st.timedeltas(timedelta(0), timedelta(days=2000)))
def test_a_time_that_is_said_is_understood_as_the_next_such_moment(minutes: int, later: timedelta) -> None:
    due, now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes), NOW + later
    found = clock_time_in(time_words(f"at {say_clock_time(due)}"))
    assert found is not None
    moment = found.next_after(now)
    assert (moment.hour, moment.minute) == (due.hour, due.minute)
    assert timedelta(0) < moment - now <= timedelta(days=1)
