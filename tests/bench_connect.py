"""How long a call takes to come about: from dialling to the first audible sample, ours beside aioice's own checks.

Run ``python -m tests.bench_connect``; it takes about a minute. Caller and edge live in one process and are real but
for the session: the reply begins as soon as it can be sent. Signalling is not HTTP here; it is given the two round
trips that a new TCP connection and a request take. The two ways of checking alternate in one run, so that a busy
machine slows both of them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable
from typing import NamedTuple

import pytest
from aioice import Connection
from rich.console import Console
from rich.table import Table

from edge_client.network.emulated import emulate
from edge_client.network.profile import NetworkProfile
from edge_client.playout import Playout
from edge_client.quantiles import Quantiles, quantiles
from edge_client.webrtc import ice
from edge_client.webrtc.checks import OnCheck
from edge_client.webrtc.ice import LOOPBACK
from edge_client.webrtc.peer import Peer, PeerSettings
from routing.turns import REPLY_SAMPLE_RATE
from tests.peers import Caller, chirp
from tests.test_webrtc_peer import Notes

SETTINGS = PeerSettings(listen_addresses=(LOOPBACK,))
REPLY_SEC = 3.0  # longer than any call takes to come about: none of it may be missed for the end


class Times(NamedTuple):
    """Seconds since the caller began to dial."""

    offer_made: float
    answered: float
    connected: float  # sound can flow both ways, as the caller sees it
    events: float  # the data channel is open, as the caller sees it
    audible: float  # the first sample of the reply came out of the caller's decoder


# -- one call --------------------------------------------------------------------------------------------------------


async def dial(round_trip_sec: float, seed: int) -> Times:
    """Make one call and measure it."""
    async with Caller() as caller:
        since = _stopwatch()
        offer = await caller.offer()
        offer_made = since()
        if round_trip_sec:
            emulate(caller.ice, NetworkProfile(name="far", delay_ms=round_trip_sec * 500), seed=seed)
        peer = await _answered(caller, offer, round_trip_sec)
        answered = since()
        running = asyncio.create_task(peer.run())
        connected, events, audible = await _reached(caller, since)
        await caller.hang_up()
        await running
    return Times(offer_made, answered, connected, events, audible)


async def _answered(caller: Caller, offer: str, round_trip_sec: float) -> Peer:
    playout = Playout()
    playout.write(chirp(REPLY_SEC, REPLY_SAMPLE_RATE))
    await asyncio.sleep(1.5 * round_trip_sec)  # a connection is opened, and the offer travels
    peer = await Peer.answer(offer, listener=Notes(), read=playout.read, settings=SETTINGS)
    await asyncio.sleep(0.5 * round_trip_sec)
    await caller.accept(peer.description)
    return peer


async def _reached(caller: Caller, since: Callable[[], float]) -> tuple[float, float, float]:
    async def timed(reached: Callable[[], bool]) -> float:
        await caller.until(reached)
        return since()

    connected, events, audible = await asyncio.gather(
        timed(lambda: caller.connection.connectionState == "connected"),
        timed(lambda: caller.channel is not None and caller.channel.readyState == "open"),
        timed(lambda: any(block.loud for block in caller.heard)),
    )
    return connected, events, audible


def _stopwatch() -> Callable[[], float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    return lambda: loop.time() - began


# -- many calls ------------------------------------------------------------------------------------------------------


def _leave(connection: Connection, *, on_check: OnCheck) -> None:
    """In the place of `hasten`, at both ends: aioice checks as it does by itself."""


async def measure(calls: int, round_trip_sec: float) -> dict[str, list[Times]]:
    """Ours and stock in turn, after one of each that is not counted."""
    times: dict[str, list[Times]] = {"ours": [], "aioice": []}
    for seed in range(calls + 1):
        ours = await dial(round_trip_sec, seed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ice, "hasten", _leave)
            stock = await dial(round_trip_sec, seed)
        if seed:
            times["ours"].append(ours)
            times["aioice"].append(stock)
    return times


# -- the report ------------------------------------------------------------------------------------------------------


def report(times: dict[str, list[Times]], round_trip_sec: float) -> Table:
    calls = len(times["ours"])
    title = f"ms since dialling, median / p95 of {calls} calls, round trip {round_trip_sec * 1000:.0f} ms"
    table = Table("", "ours", "aioice", "ratio of medians", title=title)
    for stage in Times._fields:
        ours, stock = (_quantiles([getattr(time, stage) for time in times[name]]) for name in ("ours", "aioice"))
        table.add_row(stage.replace("_", " "), _told(ours), _told(stock), f"{ours.median / stock.median:.2f}")
    return table


def _quantiles(values: list[float]) -> Quantiles:
    found = quantiles(values)
    assert found
    return found


def _told(values: Quantiles) -> str:
    return f"{values.median * 1000:.0f} / {values.p95 * 1000:.0f}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=12, help="of each kind and round trip (default: %(default)s)")
    parser.add_argument(
        "--round-trip", type=float, nargs="*", default=[0.0, 60.0], metavar="MS", help="(default: %(default)s)"
    )
    return parser.parse_args()


def main() -> None:
    """Print the table of each round trip."""
    options, console = arguments(), Console()
    for round_trip_ms in options.round_trip:
        times = asyncio.run(measure(options.calls, round_trip_ms / 1000))
        console.print(report(times, round_trip_ms / 1000))
    console.print(f"load average {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
