"""How long the router's decision takes: from the release of a turn to the choice, with outlooks that know a lot.

python -m tests.bench_decision
"""

from __future__ import annotations

import asyncio
import gc
import time

import numpy as np

from routing.contender import Contender
from routing.outlook import Outlook
from routing.policy import Traits
from routing.router import RoutedExchange, Router
from routing.settings import RoutingSettings
from tests.contenders import END, SPEECH, TURN, Timed, sound

TURNS = 2000
KNOWN_TURNS = 200
VENDOR = Traits(is_remote=True, quality_sec=0.2, cost_sec=0.1, scripts=False)


def seasoned(backend: Timed, typical_sec: float) -> Contender:
    """A contender whose outlook has seen many turns."""
    outlook = Outlook(backend.name, backend.traits)
    random = np.random.default_rng(1)
    for turn in range(KNOWN_TURNS):
        outlook.note_round_trip(0.03, float(turn))
        outlook.note_response(float(random.uniform(1, 6)), typical_sec * float(random.lognormal(0, 0.4)), float(turn))
        outlook.note_success(float(turn))
    return Contender(backend, outlook)


async def decision_sec(router: Router) -> tuple[float, float]:
    """One turn, asked for and then released, which is when it is decided: the seconds that takes, and those at work."""
    async with router.open(TURN, on_heard=lambda _: None) as exchange:
        exchange.feed(SPEECH)
        assert isinstance(exchange, RoutedExchange)
        reply = exchange.reply()
        reading = asyncio.create_task(anext(reply))
        for _ in range(10):
            await asyncio.sleep(0)  # until both are ready
        start, worked = time.perf_counter(), time.thread_time()
        exchange.commit()
        taken = time.perf_counter() - start, time.thread_time() - worked
        await reading
        await reply.aclose()
        return taken


async def measure() -> None:
    device, cloud, vendor = (
        Timed("device", sound(1), END),
        Timed("cloud", sound(1), END),
        Timed("vendor", traits=VENDOR),
    )
    for backends in ((device, cloud), (device, cloud, vendor)):
        router = Router([seasoned(backend, 0.3) for backend in backends], settings=RoutingSettings())
        for _ in range(50):
            await decision_sec(router)
        gc.collect()
        gc.freeze()
        taken = np.array([await decision_sec(router) for _ in range(TURNS)]) * 1e6
        for name, column in zip(("wall", "processor"), taken.T, strict=True):
            p50, p99 = np.percentile(column, [50, 99])
            print(f"{len(backends)} contenders, {name}: p50 {p50:.0f} us, p99 {p99:.0f} us")  # noqa: T201 a bench tells


if __name__ == "__main__":
    asyncio.run(measure())
