"""What the way through ingress, Serve handle and replica costs: ``python -m tests.bench_hop``.

A replica without a model answers turns in even steps, and stamps each piece of sound with the moment it left; the
caller looks at the clock when it comes. Both are on this machine, so the clock is one. Beside it the same with Ray as
it comes. Leave the machine idle meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import typer
import websockets
from rich.console import Console
from rich.table import Table

from edge_client.caller.report import conditions
from routing.turns import SPEECH_SAMPLE_RATE, AudioChunk, ReplyEvent, TextDelta, Turn
from routing.wire import Ask, Commit, Open, Speech, Told, decode, encode
from tests.cloud import local_cloud
from tests.cloud_models import WHEN_CANCELLED, stamp_sec

ITEM_SEC = 0.02
CANCELLATIONS = 50
SPEECH = AudioChunk(np.zeros(SPEECH_SAMPLE_RATE // 12, np.float32), SPEECH_SAMPLE_RATE)
TRANSPORTS = {"direct": "Antiphon, no proxy", "haproxy": "Antiphon, behind HAProxy", "ray": "Ray's defaults"}


@dataclass(slots=True)
class Figures:
    """In milliseconds, over all turns."""

    welcome: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)  # from asking to the first item, which needs no time to be made
    one_way: list[float] = field(default_factory=list)
    cancelled: list[float] = field(default_factory=list)  # from hanging up until the replica has stopped


async def turn(url: str, index: int, figures: Figures) -> None:
    """One turn, from the connection to the last item."""
    async with websockets.connect(url + "/v1/turns", compression=None) as socket:
        opened = time.monotonic()
        turn = Turn(session_id=f"sess_{index}", turn_id=f"turn_{index}", index=0)
        await socket.send(encode(Open(turn)))
        await socket.recv()
        figures.welcome.append((time.monotonic() - opened) * 1000)
        for _ in range(12):
            await socket.send(encode(Speech(SPEECH)))
            await asyncio.sleep(0.08)
        asked, is_first = time.monotonic(), True
        await socket.send(encode(Ask(1)))
        await socket.send(encode(Commit(1)))
        async for data in socket:
            now, message = time.monotonic(), decode(data)
            if is_first:
                figures.first.append((now - asked) * 1000)
                is_first = False
            if isinstance(message, Told) and isinstance(message.event, AudioChunk):
                figures.one_way.append((now - stamp_sec(message.event.samples)) * 1000)


async def cancellation_ms(url: str, index: int) -> float:
    """From hanging up in the middle of an answer until nothing works for it any more."""
    opening = encode(Open(Turn(session_id="sess_cancelling", turn_id=f"turn_{index}", index=index)))
    async with websockets.connect(url + "/v1/turns", compression=None) as socket:
        for message in (opening, encode(Speech(SPEECH)), encode(Ask(1)), encode(Commit(1))):
            await socket.send(message)
        for _ in range(10):
            await socket.recv()
        hung_up = time.monotonic()
    script = Turn(session_id="sess_cancelling", turn_id="turn_asking", index=0, script=WHEN_CANCELLED)
    async with websockets.connect(url + "/v1/turns", compression=None) as socket:
        for message in (encode(Open(script)), encode(Ask(1)), encode(Commit(1))):
            await socket.send(message)
        events = [event async for event in _events(socket)]
    (stopped,) = [float(event.text) for event in events if isinstance(event, TextDelta)]
    return (stopped - hung_up) * 1000


async def _events(socket: websockets.ClientConnection) -> AsyncGenerator[ReplyEvent]:
    async for data in socket:
        message = decode(data)
        if isinstance(message, Told):
            yield message.event


async def measure(url: str, *, turns: int) -> Figures:
    """That many turns at once, begun over a second as people do."""
    await turn(url, 0, Figures())  # a first connection is slow
    figures = Figures()
    async with asyncio.TaskGroup() as group:
        for index in range(turns):
            group.create_task(turn(url, index, figures))
            await asyncio.sleep(1 / turns)
    figures.cancelled = [await cancellation_ms(url, index) for index in range(CANCELLATIONS)]
    return figures


def main(
    turns: Annotated[int, typer.Option(min=1, help="How many at once.")] = 32,
    seconds: Annotated[float, typer.Option(min=1, help="How long each answer is.")] = 10.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured, alternating.")] = 2,
    transport: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(TRANSPORTS)}; all by default.")] = None,
) -> None:
    """Measure the hop from the replica to the caller, item by item."""
    console = Console()
    names = transport or list(TRANSPORTS)
    measured = {name: Figures() for name in names}
    for _ in range(rounds):
        for name in names:
            console.print(f"measuring {TRANSPORTS[name]}")
            with local_cloud(transport=name, items=int(seconds / ITEM_SEC), item_sec=ITEM_SEC) as cloud:
                found = asyncio.run(measure(cloud.url, turns=turns))
            for figure in ("welcome", "first", "one_way", "cancelled"):
                getattr(measured[name], figure).extend(getattr(found, figure))
    console.print(_table(measured, turns), str(conditions()))


def _table(measured: dict[str, Figures], turns: int) -> Table:
    table = Table(title=f"{turns} turns at once, {1 / ITEM_SEC:.0f} items a second each; ms, p50 / p99")
    for heading in ("", "place reserved", "first item", "one way", "items", "stopped after hanging up"):
        table.add_column(heading)
    for name, figures in measured.items():
        cells = [_figure(values) for values in (figures.welcome, figures.first, figures.one_way)]
        table.add_row(TRANSPORTS[name], *cells, str(len(figures.one_way)), _figure(figures.cancelled))
    return table


def _figure(values: Sequence[float]) -> str:
    return f"{np.percentile(values, 50):.2f} / {np.percentile(values, 99):.2f}"


if __name__ == "__main__":
    typer.run(main)
