"""Clocks: this machine's against itself and against others'. Client secrets, tickets and relays expire by them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import httpx

from edge_client.doctor.finding import Finding, fault, ok, skipped, warning
from edge_client.doctor.web import asked, base_of

ABOUT = "clock"
MOMENT_SEC = 0.5
READINGS = 5
STEADY_SEC = 0.02  # a wall clock that is slewed moves by half a thousandth, one that is set jumps
HALF_A_SECOND = 0.5  # a server tells whole seconds only, and not how much of the next has passed
CLOSE_SEC = 2.0
USELESS_SEC = 30.0  # beyond it, what is made for a minute is not believed elsewhere
SET_IT = "Have the clocks set over the network (timedatectl shows whether they are): secrets and relays expire by them."


@dataclass(frozen=True, slots=True)
class Other:
    """A server whose clock is compared with ours."""

    name: str
    url: str
    ca_file: Path | None = None


async def look_at_own_clock() -> list[Finding]:
    """Whether the wall clock goes as fast as the one that is never set."""
    before = _wall_ahead_sec()
    await asyncio.sleep(MOMENT_SEC)
    return [own_clock(_wall_ahead_sec() - before)]


def _wall_ahead_sec() -> float:
    """How far the wall clock is ahead of the steady one; the reading that was disturbed least."""
    readings = []
    for _ in range(READINGS):
        before, wall, after = time.monotonic(), time.time(), time.monotonic()
        readings.append((after - before, wall - (before + after) / 2))
    return min(readings)[1]


def own_clock(jumped_sec: float) -> Finding:
    """``jumped_sec`` is how much further the wall clock came than the steady one."""
    if abs(jumped_sec) <= STEADY_SEC:
        return ok(ABOUT, "it goes evenly")
    return warning(
        ABOUT,
        f"it jumped by {jumped_sec * 1000:+.0f} ms while it was looked at",
        expected="a clock that goes evenly",
        advice="Something sets it again and again: leave that to one program, such as chrony.",
    )


async def look_at_clocks(others: Iterable[Other]) -> list[Finding]:
    """Compare with the servers that this edge deals with. Those that are not there are other checks' business."""
    found = [one for one in await asyncio.gather(*map(_compared, others)) if one]
    return found or [skipped(f"{ABOUT} of others", "there is no server to compare with that tells the time")]


async def _compared(other: Other) -> Finding | None:
    began = time.time()
    try:
        answered = await asked(base_of(other.url), ca_file=other.ca_file)
    except (httpx.HTTPError, OSError, ValueError):
        return None
    if answered.epoch_sec is None:
        return None
    ended = time.time()
    return compared(
        other.name, answered.epoch_sec + HALF_A_SECOND - (began + ended) / 2, unsure_sec=(ended - began) / 2
    )


def compared(name: str, ahead_sec: float, *, unsure_sec: float = 0.0) -> Finding:
    """``ahead_sec`` is by how much the other clock is ahead of ours, give or take ``unsure_sec``."""
    about = f"{ABOUT} of {name}"
    way = "ahead of ours" if ahead_sec > 0 else "behind ours"
    if abs(ahead_sec) <= CLOSE_SEC + unsure_sec:
        return ok(about, "it agrees with ours to within two seconds")
    tell = fault if abs(ahead_sec) > USELESS_SEC + unsure_sec else warning
    return tell(about, f"{abs(ahead_sec):.0f} s {way}", expected="at most 2 s between them", advice=SET_IT)
