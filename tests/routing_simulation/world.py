"""Everything that happens to a caller and would have happened with any policy: what they say when, and how it goes."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.routing_simulation.capacity import IDLE, Capacity, cold_starts
from tests.routing_simulation.network import WEATHERS, Line, drawn, steady

SCENARIOS = (*WEATHERS, "cold start")

ASK_AFTER_SEC = 0.064  # of silence, backends are asked
CONNECT_TIMEOUT_SEC = 2.0

_UP, _DOWN = 10, 20  # salts


@dataclass(frozen=True, slots=True)
class Attempt:
    """One question of a turn: at a pause after which the caller goes on, or at the end.

    Args:
        asked_after_sec: from the beginning of the turn
        device_sec, cloud_sec: how long each of them works until its first sound, were it asked now
    """

    asked_after_sec: float
    speech_sec: float
    device_sec: float
    cloud_sec: float


@dataclass(frozen=True, slots=True)
class PlannedTurn:
    """A turn that begins at ``at``.

    ``attempts`` are asked one after the other and all but the last closed after ``pause_sec``. The last is committed
    ``endpoint_wait_sec`` after the last sample of speech.
    """

    index: int
    at: float
    attempts: tuple[Attempt, ...]
    pause_sec: float
    endpoint_wait_sec: float
    reply_sec: float

    @property
    def last(self) -> Attempt:
        return self.attempts[-1]

    def attempt_at(self, now: float) -> Attempt:
        """Which attempt it is that is asked now, or was last."""
        return next(
            (attempt for attempt in reversed(self.attempts) if self.at + attempt.asked_after_sec <= now + 0.01),
            self.attempts[0],
        )

    @property
    def asked_at(self) -> float:
        return self.at + self.last.asked_after_sec

    @property
    def committed_at(self) -> float:
        return self.asked_at - ASK_AFTER_SEC + self.endpoint_wait_sec


def planned(count: int, *, seed: int) -> Iterator[PlannedTurn]:
    """So many turns, one after the other."""
    dice = random.Random(seed)
    at = 20.0  # heartbeats come first
    for index in range(count):
        turn = _turn(index, at, dice)
        yield turn
        at = turn.committed_at + turn.reply_sec + 2.0 + dice.expovariate(1 / 4.0)


def _turn(index: int, at: float, dice: random.Random) -> PlannedTurn:
    speech_sec = min(max(dice.lognormvariate(math.log(2.2), 0.6), 0.4), 15.0)
    pause_sec = dice.uniform(0.1, 0.4)
    attempts = [_attempt(0.6 * speech_sec, dice)] if dice.random() < 0.2 and speech_sec > 1.5 else []
    attempts.append(_attempt(speech_sec, dice, later_sec=pause_sec if attempts else 0.0))
    wait = dice.choices((0.32, 0.4), weights=(80, 20))[0]
    return PlannedTurn(index, at, tuple(attempts), pause_sec, wait, min(dice.lognormvariate(1.0, 0.5), 10.0))


def _attempt(speech_sec: float, dice: random.Random, *, later_sec: float = 0.0) -> Attempt:
    asked = speech_sec + later_sec + ASK_AFTER_SEC
    return Attempt(asked, speech_sec, _device_sec(speech_sec, dice), _cloud_sec(speech_sec, dice))


def _device_sec(speech_sec: float, dice: random.Random) -> float:
    """The device is asked 256 ms before the end of most turns: its sound is there at once in half of them, within
    100 ms in nine of ten and within 300 ms in 99 of 100.
    """
    return (0.2 + 0.008 * speech_sec) * dice.lognormvariate(0.0, 0.37)


def _cloud_sec(speech_sec: float, dice: random.Random) -> float:
    """A speech model on a GPU; one answer in fifty waits for somebody's long prompt."""
    slow = 3.0 if dice.random() < 0.02 else 1.0
    return (0.16 + 0.012 * speech_sec) * dice.lognormvariate(0.0, 0.3) * slow


@dataclass(frozen=True, slots=True)
class World:
    """A network, a cloud and a caller."""

    scenario: str
    line: Line
    capacity: Capacity
    turns: tuple[PlannedTurn, ...]

    def connected_at(self, turn: PlannedTurn) -> float:
        """When a connection stands that is opened as the turn begins: two round trips, TLS among them."""
        at = turn.at
        for leg in (_UP, _DOWN, _UP, _DOWN):
            at = self.line.arrival(at, salt=leg)
        return at

    def cloud_first_sound_at(self, turn: PlannedTurn, attempt: Attempt) -> float | None:
        """When the cloud's first sound reaches the edge; None where it refuses or cannot be reached in time."""
        reached_at = self.cloud_reached_at(turn, attempt)
        if reached_at is None or self.capacity.is_full(reached_at):
            return None
        done_at = reached_at + self.capacity.queue_sec(reached_at) + attempt.cloud_sec
        return self.down(done_at)

    def cloud_reached_at(self, turn: PlannedTurn, attempt: Attempt) -> float | None:
        """When the question is there; None where the connection does not stand in time."""
        connected_at = self.connected_at(turn)
        if connected_at > turn.at + CONNECT_TIMEOUT_SEC:
            return None
        return self.line.arrival(max(turn.at + attempt.asked_after_sec, connected_at), salt=_UP)

    def down(self, sent_at: float) -> float:
        """When something arrives that the cloud sends then."""
        return self.line.arrival(sent_at, salt=_DOWN)

    def heartbeat(self, sent_at: float) -> float:
        """When the pong arrives."""
        return self.down(self.line.arrival(sent_at, salt=_UP))


def world(scenario: str, *, turns: int, seed: int) -> World:
    """One of `SCENARIOS`, drawn from the seed."""
    plan = tuple(planned(turns, seed=seed))
    seconds = plan[-1].committed_at + 60.0
    line = drawn(WEATHERS.get(scenario, steady), seconds=seconds, seed=seed + 1)
    capacity = cold_starts(seconds=seconds, seed=seed + 2) if scenario == "cold start" else IDLE
    return World(scenario, line, capacity, plan)
