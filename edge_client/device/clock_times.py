"""Times of day as people say them: "seven thirty", "half past six in the evening", "tomorrow at noon"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from edge_client.device.spoken_numbers import PARTS, number_at, tokens

EARLIEST_WAKING_HOUR = 6  # "tomorrow at five" is in the afternoon

type HalfDay = Literal["am", "pm"]

_HALF_DAYS: dict[str, HalfDay] = {
    "am": "am",
    "morning": "am",
    "pm": "pm",
    "afternoon": "pm",
    "evening": "pm",
    "night": "pm",
    "tonight": "pm",
}
_NAMED_TIMES: dict[str, HalfDay] = {"noon": "pm", "midday": "pm", "midnight": "am"}  # all at twelve
_DOTTED = re.compile(r"(?<![a-z])([ap])\.?\s?m\b\.?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ClockTime:
    """A time of day said by the words from ``start`` up to ``end``; without a half of the day the next one is meant."""

    hour: int
    minute: int
    half_day: HalfDay | None
    tomorrow: bool
    start: int
    end: int

    def next_after(self, now: datetime) -> datetime:
        """The first such moment after ``now``, or tomorrow's."""
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        if self.tomorrow:
            return midnight + timedelta(days=1, hours=self._waking_hour(), minutes=self.minute)
        hours = (hour + 24 * day for day in (0, 1) for hour in self._hours())
        moments = (midnight + timedelta(hours=hour, minutes=self.minute) for hour in hours)
        return next(moment for moment in moments if moment > now)

    def _hours(self) -> tuple[int, ...]:
        if self.half_day:
            return (self.hour % 12 + (12 if self.half_day == "pm" else 0),)
        return (self.hour % 12, self.hour % 12 + 12) if 0 < self.hour <= 12 else (self.hour,)

    def _waking_hour(self) -> int:
        hours = self._hours()
        return max(hours) if min(hours) < EARLIEST_WAKING_HOUR else min(hours)


def time_words(text: str) -> list[str]:
    """Lower-case words and figures, with "3:45 p.m." taken apart into 3, 45 and pm."""
    return tokens(_DOTTED.sub(r" \1m", text).replace(":", " "))


def clock_time_in(words: Sequence[str], leads: Sequence[str] = ("at",)) -> ClockTime | None:
    """The first time of day of a sentence; it follows one of the ``leads``, or names half of the day."""
    for start, word in enumerate(words):
        led = word in leads
        found = _clock_time_at(words, start + led)
        if found and (led or found.half_day):
            tomorrow = "tomorrow" in words
            return ClockTime(found.hour, found.minute, found.half_day, tomorrow, start, found.end)
    return None


def say_clock_time(moment: datetime) -> str:
    """ "3:45 PM"."""
    return f"{moment.hour % 12 or 12}:{moment:%M} {'AM' if moment.hour < 12 else 'PM'}"


class _Spoken(NamedTuple):
    hour: int
    minute: int
    end: int
    half_day: HalfDay | None = None


def _clock_time_at(words: Sequence[str], start: int) -> _Spoken | None:
    if named := _NAMED_TIMES.get(_word(words, start)):
        return _Spoken(12, 0, start + 1, named)
    spoken = _relative_at(words, start) or _plain_at(words, start)
    return _with_half_day(words, spoken) if spoken else None


def _plain_at(words: Sequence[str], start: int) -> _Spoken | None:
    """ "seven", "seven thirty", "seven oh five", "19 45"."""
    hour = _whole_at(words, start, below=24)
    if hour is None:
        return None
    minute = _whole_at(words, hour.end + (_word(words, hour.end) in ("oh", "o")), below=60)
    return _Spoken(hour.value, minute.value, minute.end) if minute else _Spoken(hour.value, 0, hour.end)


def _relative_at(words: Sequence[str], start: int) -> _Spoken | None:
    """ "half past six", "a quarter to seven", "ten past five"."""
    distance = _minutes_at(words, start)
    direction = _word(words, distance.end) if distance else ""
    if distance is None or direction not in ("past", "after", "to"):
        return None
    hour = _whole_at(words, distance.end + 1, below=24)
    if hour is None:
        return None
    minutes = hour.value * 60 + (-distance.value if direction == "to" else distance.value)
    return _Spoken(minutes // 60, minutes % 60, hour.end)


class _Whole(NamedTuple):
    value: int
    end: int


def _minutes_at(words: Sequence[str], start: int) -> _Whole | None:
    place = start + (_word(words, start) == "a")
    if part := PARTS.get(_word(words, place)):
        return _Whole(int(60 * part), place + 1)
    minutes = _whole_at(words, place, below=60)
    if minutes and _word(words, minutes.end) == "minutes":
        return _Whole(minutes.value, minutes.end + 1)
    return minutes


def _whole_at(words: Sequence[str], start: int, *, below: int) -> _Whole | None:
    number = number_at(words, start)
    if number is None or number.value.denominator > 1 or not 0 <= number.value < below:
        return None
    return _Whole(int(number.value), number.end)


def _with_half_day(words: Sequence[str], spoken: _Spoken) -> _Spoken:
    place = spoken.end + (_word(words, spoken.end) == "o'clock")
    for lead in (["in", "the"], ["at"], ["this"], []):
        behind = place + len(lead)
        half_day = _HALF_DAYS.get(_word(words, behind))
        if half_day and list(words[place:behind]) == lead:
            return _Spoken(spoken.hour, spoken.minute, behind + 1, half_day)
    return _Spoken(spoken.hour, spoken.minute, place)


def _word(words: Sequence[str], place: int) -> str:
    return words[place] if place < len(words) else ""
