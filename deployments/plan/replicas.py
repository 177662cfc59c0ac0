"""Replicas: what a turn finds there, and which of them come, go and die."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from deployments.plan.distribution import Lognormal
from deployments.plan.ring import Ring
from routing.load import Load

LATELY = 64  # first sounds that a replica's p95 is taken from


class ReplicaSettings(BaseModel):
    """One replica: an engine that gives so many replies at once."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # engine.scheduler.maximum_running. As many as keep step_sec(slots) within its step_budget_share of 53.3 ms.
    slots: int = Field(default=16, ge=1, description="replies at once")
    waiting: int = Field(default=8, ge=0, description="turns that wait; the default of engine.scheduler")
    # Assumed, of a mid-size GPU: no GPU was measured. `deployments.engine.bench` on yours gives both.
    step_base_sec: float = Field(default=0.016, ge=0, description="a step, whoever is in it")
    step_row_sec: float = Field(default=0.0005, ge=0, description="for each reply in it")
    first_steps: int = Field(default=7, ge=0, description="until the first sound: 6 tokens and a frame")
    prompt_sec: float = Field(default=0.03, ge=0, description="to read a turn before the first step; assumed")
    ahead_sec: float = Field(default=1.0, ge=0, description="sound made ahead; engine.scheduler.maximum_ahead_sec")
    first_audio_target_sec: float = Field(
        default=0.4, gt=0, description="a turn that would wait longer is refused; engine.scheduler"
    )
    tries: int = Field(default=3, ge=1, description="replicas asked for one turn; ingress.replicas_tried")
    cold_start: Lognormal = Lognormal(median=120.0, p95=180.0)  # assumed: node there, image and weights on it
    failed_after_hours: float = Field(default=500.0, gt=0, description="of one, on average; assumed")
    notice_sec: float = Field(default=0.035, ge=0, description="until a death is noticed; measured, 10 to 38 ms")
    gpus: float = Field(default=1.0, ge=0, description="of each")
    surge_share: float = Field(default=0.2, gt=0, le=1, description="replaced at a time in an upgrade; Serve's default")

    def step_sec(self, rows: int) -> float:
        """A step of the engine with so many replies in it."""
        return self.step_base_sec + self.step_row_sec * rows

    def first_sound_sec(self, rows: int) -> float:
        """From taking a turn to its first sound, with so many replies in each step, its own too."""
        return self.prompt_sec + self.first_steps * self.step_sec(rows)


@dataclass(slots=True, eq=False)
class Replica:
    """One replica, with the turns that it answers and those that wait for it."""

    number: int
    settings: ReplicaSettings
    generation: int
    turns: dict[Any, None] = field(default_factory=dict)
    waiting: deque[Any] = field(default_factory=deque)
    refused: int = 0
    is_ready: bool = False
    is_leaving: bool = False
    is_gone: bool = False
    first_sounds: deque[float] = field(default_factory=lambda: deque(maxlen=LATELY))
    _p95: float | None = None

    def can_take(self) -> bool:
        return len(self.turns) < self.settings.slots

    def can_keep(self, turn_sec: float) -> bool:
        """Whether one more may wait: there is a place, and the first sound would come in time."""
        if len(self.waiting) >= self.settings.waiting:
            return False
        first_sound_sec = self.settings.first_sound_sec(self.settings.slots)
        return self.queue_wait_sec(turn_sec) + first_sound_sec <= self.settings.first_audio_target_sec

    def queue_wait_sec(self, turn_sec: float) -> float:
        """How long the next one would wait, where a turn keeps its slot for ``turn_sec``."""
        if self.can_take() or not self.settings.waiting:
            return 0.0
        return turn_sec / self.settings.slots * (len(self.waiting) + 1)

    def note_first_sound(self, seconds: float) -> None:
        """From being asked to the first sound."""
        self.first_sounds.append(seconds)
        self._p95 = None

    def load(self, turn_sec: float) -> Load:
        """What it tells of itself."""
        if self._p95 is None and self.first_sounds:
            self._p95 = sorted(self.first_sounds)[ceil(0.95 * len(self.first_sounds)) - 1]
        return Load(
            slots=self.settings.slots,
            in_use=len(self.turns),
            waiting=len(self.waiting),
            queue_wait_sec=self.queue_wait_sec(turn_sec),
            first_audio_p95_sec=self._p95,
        )


class Fleet:
    """All replicas of a cell, in the order in which they were asked for."""

    def __init__(self, settings: ReplicaSettings, *, seed: int) -> None:
        self._settings = settings
        self._seed = seed
        self._asked = 0
        self._ring: Ring[Replica] = Ring()
        self.replicas: list[Replica] = []
        self.generation = 0

    def ask(self) -> Replica:
        """One more, which is not ready yet."""
        replica = Replica(self._asked, self._settings, self.generation)
        self._asked += 1
        self.replicas.append(replica)
        return replica

    def open(self, replica: Replica) -> None:
        """It is warm: turns come from now on."""
        replica.is_ready = True
        self._ring.join(replica.number, replica, seed=self._seed)

    def close(self, replica: Replica) -> None:
        """No further turns; those that it has may end."""
        replica.is_leaving = True
        self._ring.leave(replica.number)

    def end(self, replica: Replica) -> None:
        """It is gone."""
        replica.is_gone = True
        self._ring.leave(replica.number)
        self.replicas.remove(replica)

    def candidates(self, key: float) -> Iterator[Replica]:
        """Those that may be asked for a turn of this session."""
        return islice(self._ring.ranks(key), self._settings.tries)

    def ready(self) -> list[Replica]:
        """Those that take turns."""
        return [replica for replica in self.replicas if replica.is_ready and not replica.is_leaving]

    def starting(self) -> list[Replica]:
        """Those that were asked for and are not warm."""
        return [replica for replica in self.replicas if not replica.is_ready]

    def to_leave(self) -> Replica:
        """Which goes first: one that has not even begun, then one of an old version, then the least busy."""
        candidates = self.starting() or self.ready()
        return min(candidates, key=lambda replica: (replica.generation, len(replica.turns), -replica.number))
