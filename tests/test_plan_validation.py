"""The plan against a real cluster of this machine: the same callers at the same moments, one played and one lived."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pytest

from deployments.plan.cell import Cell, Session
from deployments.plan.settings import PlanSettings
from deployments.plan.tally import Tally
from edge_client.cloud.backend import CloudBackend
from edge_client.cloud.settings import CloudSettings
from routing.errors import BackendError
from routing.turns import SPEECH_SAMPLE_RATE, AudioChunk, Turn
from tests.cloud import HURRIED, Cloud, local_cloud

pytestmark = [pytest.mark.ray, pytest.mark.hostile, pytest.mark.calm, pytest.mark.timeout(240)]

SLOTS = 8
ITEMS, ITEM_SEC, FIRST_SEC = 20, 0.1, 0.15
AUTOSCALING = {**HURRIED, "turn_sec": ITEMS * ITEM_SEC, "look_back_sec": 8.0}
QUIET, BUSY = 0.12, 1.0
HOURS = (*[QUIET] * 4, *(0.3, 0.5, 0.7, 0.9), *[BUSY] * 8, *(0.7, 0.4), *[QUIET] * 6)
PLAYED_SEC = 48.0
TURNS_PER_SEC = 5.5  # at the busiest time: half of the slots of three replicas
SPEECH = AudioChunk(np.zeros(SPEECH_SAMPLE_RATE // 10, np.float32), SPEECH_SAMPLE_RATE)
LOOK_SEC = 0.2
WITHIN = 0.15


DECIDED = re.compile(r"(\d+-\d+-\d+ \d+:\d+:\d+,\d+) .*Replicas of replica: from (\d+) to (\d+)")


class Watched(NamedTuple):
    """A cloud, and the folder in which Ray writes its logs."""

    cloud: Cloud
    folder: Path

    def decisions(self) -> list[Decided]:
        """All that the policy has decided, as the controller wrote it down."""
        logs = self.folder.glob("*/session_*/logs/serve/controller_*.log")
        found = [match for log in set(map(Path.resolve, logs)) for match in DECIDED.finditer(log.read_text())]
        return [Decided(_epoch(match[1]), int(match[2]), int(match[3])) for match in found]


class Decided(NamedTuple):
    """``at`` is a time of the machine's clock."""

    at: float
    before: int
    after: int


def _epoch(written: str) -> float:
    return datetime.strptime(written, "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    model: dict[str, Any] = {"slots": SLOTS, "items": ITEMS, "item_sec": ITEM_SEC, "first_sec": FIRST_SEC}
    with (
        TemporaryDirectory(prefix="plan", ignore_cleanup_errors=True) as folder,  # a short name: sockets have limits
        local_cloud({"autoscaling": AUTOSCALING}, environment={"TMPDIR": folder}, **model) as cloud,
    ):
        yield Watched(cloud, Path(folder))


@dataclass(slots=True)
class Lived:
    """What a stretch of life was like. It began at two times: of a clock that only goes forward, and of the date."""

    began: float
    began_at: float
    seconds: float = 0.0
    answered: int = 0
    refused: int = 0
    first_sec: list[float] = field(default_factory=list)
    looks: list[tuple[float, int, int]] = field(default_factory=list)  # when, replicas, turns at them

    def mean(self, column: int) -> float:
        """Over time, of what was seen."""
        looks = [look for look in self.looks if 0 <= look[0] <= self.seconds]
        return fmean(look[column] for look in looks)


class Callers:
    """Ask one turn each, at given moments."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._backend = CloudBackend(CloudSettings(url=cloud.url, connect_timeout_sec=10.0))
        self._asked = 0

    async def live(self, moments: Sequence[float], seconds: float) -> Lived:
        lived = Lived(time.monotonic(), time.time(), seconds)
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(self._look(lived))
            async with asyncio.TaskGroup() as asking:
                for moment in moments:
                    await asyncio.sleep(lived.began + moment - time.monotonic())
                    asking.create_task(self._ask(lived))
                await asyncio.sleep(lived.began + seconds - time.monotonic())
            looking.cancel()
        return lived

    async def be(self, count: int) -> Lived:
        """So many at once."""
        return await self.live([0.0] * count, 0.0)

    async def _ask(self, lived: Lived) -> None:
        self._asked += 1
        turn = Turn(session_id=f"session {self._asked}", turn_id=f"turn {self._asked}", index=0)
        asked = time.monotonic()
        first: float | None = None
        try:
            async with self._backend.open(turn, on_heard=lambda heard: None) as exchange:
                exchange.feed(SPEECH)
                exchange.commit()
                async with aclosing(exchange.reply()) as events:
                    async for event in events:
                        if first is None and isinstance(event, AudioChunk):
                            first = time.monotonic() - asked
        except BackendError:
            lived.refused += 1
            return
        assert first is not None
        lived.answered += 1
        lived.first_sec.append(first)

    async def _look(self, lived: Lived) -> None:
        while True:
            replicas = await asyncio.to_thread(self._cloud.replicas)
            at = time.monotonic() - lived.began
            lived.looks.append((at, len(replicas), sum(replica["turns"] for replica in replicas)))
            await asyncio.sleep(LOOK_SEC)


class Noted(Cell):
    """Writes down when turns were asked."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.moments: list[float] = []

    def _ask(self, session: Session) -> None:
        self.moments.append(self._agenda.now)
        super()._ask(session)


def plan(*, first_sec: float, cold_start_sec: float) -> PlanSettings:
    """The same, as settings: each call is one turn, asked at once, and whoever is refused goes away."""
    constant = {"median": 0.0, "p95": 0.0}
    return PlanSettings.model_validate(
        {
            "day": {"hours": HOURS, "played_sec": PLAYED_SEC, "bursts": [], "incidents": [], "upgrades": []},
            "calls": {
                "turns": 1,
                "think": constant,
                "speech": constant,
                "reply": {"median": ITEMS * ITEM_SEC, "p95": ITEMS * ITEM_SEC},
                "private_share": 0,
            },
            "turn_taking": {"pause_sec": 0, "endpoint_wait": constant, "network": constant, "hedge_sec": 60},
            "replicas": {
                "slots": SLOTS,
                "waiting": 0,
                "step_base_sec": 0,
                "step_row_sec": 0,
                "prompt_sec": first_sec,
                "ahead_sec": 0,
                "cold_start": {"median": cold_start_sec, "p95": cold_start_sec},
            },
            "autoscaling": AUTOSCALING,
            "gateways": {"places": 1000, "device_replies": 0},
        }
    )


def play(settings: PlanSettings) -> tuple[Tally, list[float]]:
    cell = Noted(settings, sessions=TURNS_PER_SEC * settings.cycle_sec, seed=7)
    return cell.play(), cell.moments


async def test_what_is_planned_is_what_happens(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    callers = Callers(watched.cloud)
    alone = [first for _ in range(6) for first in (await callers.be(1)).first_sec]
    _, moments = play(plan(first_sec=median(alone), cold_start_sec=5.0))  # who asks when depends on neither
    lived = await callers.live(moments, PLAYED_SEC)

    rises = rises_of(lived, await asyncio.to_thread(watched.decisions))
    cold_start_sec = fmean(rise.ready_at - rise.decided_at for rise in rises)
    tally, _ = play(plan(first_sec=median(alone), cold_start_sec=cold_start_sec))

    rows = compared(lived, tally, rises)
    with capsys.disabled():
        told = (
            f"{name:26} {measured:8.3f} {planned:8.3f} {planned / measured:6.2f}" for name, measured, planned in rows
        )
        print(f"\n{'':26} measured  planned  ratio", *told, f"a replica starts in {cold_start_sec:.1f} s", sep="\n")  # noqa: T201
    assert {name: planned / measured for name, measured, planned in rows[:4]} == {
        name: pytest.approx(1, abs=WITHIN) for name, *_ in rows[:4]
    }


class Rise(NamedTuple):
    """To so many replicas, in seconds since it all began."""

    replicas: int
    decided_at: float
    ready_at: float


def rises_of(lived: Lived, decisions: Sequence[Decided]) -> list[Rise]:
    """The first one to each number of replicas."""
    rises: dict[int, Rise] = {}
    for at, before, after in decisions:
        for replicas in range(before + 1, after + 1):
            since = at - lived.began_at
            ready = [when for when, count, _ in lived.looks if when > since and count >= replicas]
            if since > 0 and ready and replicas not in rises:
                rises[replicas] = Rise(replicas, since, ready[0])
    assert rises, "the policy has asked for no replica, or Ray has written down nothing"
    return [*rises.values()]


def compared(lived: Lived, tally: Tally, rises: Sequence[Rise]) -> list[tuple[str, float, float]]:
    """What must agree, and below it what a single run leaves to chance."""
    counts = tally.counts
    return [
        ("slots in use, mean", lived.mean(2), tally.mean("occupied")),
        ("replica seconds", lived.mean(1) * lived.seconds, tally.mean("ready") * tally.seconds),
        ("turns answered a second", lived.answered / lived.seconds, (counts.cloud + counts.open) / tally.seconds),
        ("first item p50, s", median(lived.first_sec), float(np.median(tally.first_audio))),
        *(
            (f"{rise.replicas} replicas wanted at, s", rise.decided_at, wanted_at(tally, rise.replicas))
            for rise in rises
        ),
        (
            "answered of those asked",
            lived.answered / (lived.refused + lived.answered),
            1 - counts.refused / counts.asked,
        ),
    ]


def wanted_at(tally: Tally, replicas: int) -> float:
    """When the simulation wanted so many, in seconds."""
    wanted = [stretch.mean("wanted") for stretch in tally.stretches]
    return next((index for index, count in enumerate(wanted) if count >= replicas), -1) / len(wanted) * PLAYED_SEC
