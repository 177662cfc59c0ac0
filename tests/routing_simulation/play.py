"""Lets the router place a world's turns by one policy, on virtual time, and writes down how long the caller waited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np

from routing.contender import Contender
from routing.outlook import Outlook
from routing.policy import PolicyName, Traits
from routing.record import PlacementRecord
from routing.router import Router
from routing.settings import RoutingSettings
from routing.turns import SPEECH_SAMPLE_RATE, AudioChunk, Exchange, Placement, ReplyEvent, Turn
from tests.routing_simulation.backends import SimulatedCloud, SimulatedDevice, beat
from tests.routing_simulation.world import PlannedTurn, World
from tests.virtual_time import VirtualTimeLoop

QUALITY_SEC = 0.3  # what the cloud's better answers are worth
DEVICE = Traits(is_remote=False)
CLOUD = Traits(is_remote=True, quality_sec=QUALITY_SEC, knowledge=True, long_answers=True)


@dataclass(slots=True)
class PlayedTurn:
    """What became of one turn.

    Args:
        wait_sec: from the turn's end to the first sound; None where nobody answered
        pause_sec: the longest silence within the reply, were it played as it came
        record: what the router wrote down
    """

    plan: PlannedTurn
    backends: list[str]
    wait_sec: float | None = None
    pause_sec: float = 0.0
    record: PlacementRecord | None = None

    @property
    def backend(self) -> str | None:
        """Who spoke first."""
        return self.backends[0] if self.backends else None

    @property
    def v2v_sec(self) -> float:
        """Endless where nobody answered."""
        return float("inf") if self.wait_sec is None else self.plan.endpoint_wait_sec + self.wait_sec


def play(world: World, policy: PolicyName, *, on_played: Callable[[int], None] = lambda _: None) -> list[PlayedTurn]:
    """Every turn of the world, as this policy has it; ``on_played`` is told the index of each turn that is over."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(_play(world, policy, on_played))


async def _play(world: World, policy: PolicyName, on_played: Callable[[int], None]) -> list[PlayedTurn]:
    played = [PlayedTurn(plan, []) for plan in world.turns]

    def note(record: PlacementRecord) -> None:
        played[record.index].record = record

    outlook = Outlook("cloud", CLOUD)
    contenders = (
        Contender(SimulatedDevice(world), Outlook("device", DEVICE)),
        Contender(SimulatedCloud(world), outlook),
    )
    router = Router(contenders, settings=RoutingSettings(policy=policy), on_placed=note)
    async with asyncio.TaskGroup() as callers:
        heart = callers.create_task(beat(world, outlook))
        for turn in played:
            await _until(turn.plan.at)
            callers.create_task(_take(router, turn))
            on_played(turn.plan.index)
        await _until(world.turns[-1].committed_at + 60.0)
        heart.cancel()
    return played


async def _take(router: Router, played: PlayedTurn) -> None:
    """One turn, as a session takes it: a question at each pause, closed where the caller goes on."""
    plan = played.plan
    turn = Turn(session_id="session", turn_id=f"turn {plan.index}", index=plan.index)
    async with router.open(turn, on_heard=lambda _: None) as exchange:
        fed_sec = 0.0
        for attempt in plan.attempts[:-1]:
            await _speak(exchange, plan.at, attempt.speech_sec, attempt.asked_after_sec, fed_sec)
            fed_sec = attempt.speech_sec
            await _abandon(exchange, plan.pause_sec)
        await _speak(exchange, plan.at, plan.last.speech_sec, plan.last.asked_after_sec, fed_sec)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_listen(exchange, played))
            await _until(plan.committed_at)
            exchange.commit()


async def _speak(
    exchange: Exchange, began_at: float, speech_sec: float, asked_after_sec: float, fed_sec: float
) -> None:
    await _until(began_at + asked_after_sec)
    samples = np.zeros(int((speech_sec - fed_sec) * SPEECH_SAMPLE_RATE), np.float32)
    exchange.feed(AudioChunk(samples, SPEECH_SAMPLE_RATE))


async def _abandon(exchange: Exchange, after_sec: float) -> None:
    """Ask too early, and take it back."""
    try:
        async with asyncio.timeout(after_sec):
            async with aclosing(exchange.reply()) as events:
                async for _ in events:
                    pass
    except TimeoutError:
        pass


async def _listen(exchange: Exchange, played: PlayedTurn) -> None:
    plays_until = 0.0
    async with aclosing(exchange.reply()) as events:
        async for event in events:
            plays_until = _hear(event, played, plays_until)


def _hear(event: ReplyEvent, played: PlayedTurn, plays_until: float) -> float:
    """Note what was heard; when all of it will have been played."""
    now = _now()
    match event:
        case Placement(backend=backend):
            played.backends.append(backend)
        case AudioChunk():
            if played.wait_sec is None:
                played.wait_sec = max(now - played.plan.committed_at, 0.0)
            else:
                played.pause_sec = max(played.pause_sec, now - plays_until)
            return max(plays_until, now) + event.duration_sec
    return plays_until


async def _until(at: float) -> None:
    await asyncio.sleep(max(at - _now(), 0.0))


def _now() -> float:
    return asyncio.get_running_loop().time()
