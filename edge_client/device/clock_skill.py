"""The time here and elsewhere, and the date."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from edge_client.device.clock_times import say_clock_time
from edge_client.device.skills import Request, skill

_PLACE = re.compile(r"\bin ([a-z][a-z ]*)$")


@skill(
    "what time is it",
    "what's the time",
    "can you tell me the time",
    "do you know what time it is",
    "what time is it in london",
    "what is the time in new york",
    "is it late",
)
def clock(request: Request) -> str:
    asked = re.sub(r"[^a-z ]", "", request.text.lower()).strip()
    place = _PLACE.search(asked.removesuffix(" right now").removesuffix(" now"))
    here = f"It's {say_clock_time(request.now)}."
    if place is None:
        return here
    name = place[1].title()
    zone = _zones().get(place[1])
    if zone is None:
        return f"I don't know the time in {name}. Here it's {say_clock_time(request.now)}."
    return f"In {name} it's {say_clock_time(request.now.astimezone(ZoneInfo(zone)))}."


@cache
def _zones() -> dict[str, str]:
    """Time zones by the city they are named after. Empty where the system has no time zone data."""
    return {name.rsplit("/", 1)[-1].replace("_", " ").lower(): name for name in sorted(available_timezones())}


@skill(
    "what day is it",
    "what's the date",
    "what is today's date",
    "which day of the week is it",
    "what day is tomorrow",
    "what is tomorrow's date",
    "what day was yesterday",
    "what year is it",
    "what month is it",
)
def calendar(request: Request) -> str:
    words = request.text.lower()
    if "year" in words:
        return f"It's {request.now:%Y}."
    if "tomorrow" in words:
        return f"Tomorrow is {_date(request.now + timedelta(days=1))}."
    if "yesterday" in words:
        return f"Yesterday was {_date(request.now - timedelta(days=1))}."
    return f"It's {_date(request.now)}."


def _date(moment: datetime) -> str:
    return f"{moment:%A}, {moment:%B} {moment.day}"
