"""What a plan is made from. Defaults are measured figures where there are any; a comment says of each where it is from.

``measured``: on two cores of an AMD EPYC, as the README tells. ``derived``: reckoned from measured ones. ``assumed``:
nobody has measured it here. Those are yours to replace before you buy anything.
"""

from __future__ import annotations

from math import ceil
from pathlib import Path
from statistics import fmean
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from deployments.autoscaling import AutoscalingSettings
from deployments.model_settings import settings_of
from deployments.plan.day import HOURS, DaySettings, share_at
from deployments.plan.distribution import Lognormal
from deployments.plan.gateways import HorizontalSettings
from deployments.plan.replicas import ReplicaSettings
from routing.errors import SettingsError


class PlanPart(BaseModel):
    """Frozen, and without room for what is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CallSettings(PlanPart):
    """What people do. All of it is assumed: put the figures of your own calls here."""

    turns: float = Field(default=12.0, ge=1, description="of a call, on average")
    think: Lognormal = Lognormal(median=3.0, p95=10.0)  # from the end of a reply to the next word
    speech: Lognormal = Lognormal(median=2.5, p95=7.0)
    reply: Lognormal = Lognormal(median=5.0, p95=14.0)  # seconds of sound
    private_share: float = Field(default=0.05, ge=0, le=1, description="turns that must not leave the edge")


class TurnTakingSettings(PlanPart):
    """When a turn is over, and who may speak then."""

    pause_sec: float = Field(default=0.1, ge=0, description="of silence, until answers are begun on trial; measured")
    endpoint_wait: Lognormal = Lognormal(median=0.263, p95=0.282)  # measured: README, 24 turns
    hedge_sec: float = Field(
        default=0.35, ge=0, description="after the decision, for the cloud; then the device speaks; assumed"
    )
    rest_sec: float = Field(
        default=0.043, ge=0, description="codecs, packets and playout; measured: V2V 310 less waits"
    )
    network: Lognormal = Lognormal(median=0.04, p95=0.12)  # both ways of a caller together; assumed


class GatewaySettings(PlanPart):
    """One edge pod."""

    places: int = Field(default=16, ge=1, description="calls at a time; maximum_sessions of configs/edge.cluster.yaml")
    cores: float = Field(default=2.0, gt=0, description="of a pod; what k8s/base/edge requests")
    start: Lognormal = Lognormal(median=15.0, p95=30.0)  # derived: 4 to 5 s measured, and a pod to be scheduled
    back_sec: float = Field(default=3.0, ge=0, description="until a caller whose edge died calls again; measured")
    failed_after_hours: float = Field(default=1000.0, gt=0, description="of one, on average; assumed")
    device_replies: int = Field(
        default=4, ge=0, description="that its own models give at a time; derived: 0.1 of a core each, beside hearing"
    )
    device_answer: Lognormal = Lognormal(median=0.172, p95=0.33)  # from the pause; measured median: README
    scaling: HorizontalSettings = HorizontalSettings()

    # Of a core, with all places taken: `antiphon load --edge device --steps 1,10,30`.
    session_cores: float = Field(default=0.0128, ge=0, description="for media of a call; measured: README, 30 calls")
    hearing_cores: float = Field(default=0.0126, ge=0, description="to listen whether somebody speaks; measured")
    turn_core_sec: float = Field(
        default=0.1, ge=0, description="to understand a turn; measured with the next, each taken for half"
    )
    device_core_sec: float = Field(
        default=0.1, ge=0, description="for a reply of its own; measured with the one before"
    )
    base_mib: float = Field(default=871.0, gt=0, description="of a pod with its models; measured: README, the peak")
    session_mib: float = Field(default=3.1, ge=0, description="of a call; measured: 30 that talk")


class TrafficSettings(PlanPart):
    """What goes over the network. See `deployments.plan.traffic`."""

    opus_bits_per_sec: float = Field(
        default=32_000.0, gt=0, description="of sound; what the edge sends, and callers by assumption"
    )
    speaking_share_only: bool = Field(default=False, description="callers who send nothing while they are silent (DTX)")
    ipv6: bool = False
    relayed_share: float = Field(default=0.15, ge=0, le=1, description="of the calls, through TURN; assumed")
    relay_bits_per_sec: float = Field(default=1e9, gt=0, description="that one relay carries; assumed")
    relay_ports: int = Field(default=1800, ge=1, description="one for each call; total-quota of configs/coturn")
    cloud_samples_per_sec: float = Field(default=16_000.0, gt=0, description="of speech to the cloud, two bytes each")


class TelemetrySettings(PlanPart):
    """What is told about turns."""

    spans_per_turn: float = Field(default=29.0, ge=0, description="measured: the 15 turns of the demo have 433")
    bytes_per_span: float = Field(default=849.0, ge=0, description="measured: the same, as JSON")
    kept_share: float = Field(default=0.02, ge=0, le=1, description="of ordinary turns, after tail sampling")
    notable_share: float = Field(default=0.02, ge=0, le=1, description="turns kept for what they were; assumed")
    spans_per_collector: float = Field(default=10_000.0, gt=0, description="a second; assumed")


class PriceSettings(PlanPart):
    """Examples, in units of money: no quotes, from nobody. Put your own here."""

    gpu_hour: float = Field(default=2.0, ge=0)
    core_hour: float = Field(default=0.04, ge=0)
    gib_hour: float = Field(default=0.005, ge=0, description="of memory")
    egress_gb: float = Field(default=0.05, ge=0, description="10^9 bytes that leave")


class ScaleSettings(PlanPart):
    """One size of deployment. It is cut into cells: each has its own Ray cluster and edges, and shares nothing."""

    name: str
    sessions: int = Field(ge=1, description="at the same time, at the busiest time of the day")
    cell_sessions: int = Field(default=2000, ge=1, description="of one cell at most")
    played_cells: int = Field(default=1, ge=1, description="event by event; the others follow them")
    regions: int = Field(default=1, ge=1, description="time zones, evenly around the day, over which cells are spread")

    def all_cells_sessions(self, hours: tuple[float, ...]) -> float:
        """Of all cells, each at its own busiest time: more than there ever are at once where regions sleep by turns."""
        shares = [[share_at(hours, hour + shift) for shift in self.shifts] for hour in range(HOURS)]
        return self.sessions / max(map(fmean, shares))

    def cells(self, hours: tuple[float, ...]) -> int:
        """How many, as many in each region."""
        return self.regions * ceil(self.all_cells_sessions(hours) / self.cell_sessions / self.regions)

    @property
    def shifts(self) -> list[float]:
        """By how many hours each region's day is ahead."""
        return [HOURS * region / self.regions for region in range(self.regions)]


SCALES = (
    ScaleSettings(name="1k", sessions=1_000),
    ScaleSettings(name="100k", sessions=100_000, played_cells=2),
    ScaleSettings(name="10M", sessions=10_000_000, played_cells=3, regions=3),
)


class PlanSettings(PlanPart):
    """The whole plan."""

    scales: tuple[ScaleSettings, ...] = Field(default=SCALES, min_length=1)
    day: DaySettings = DaySettings()
    calls: CallSettings = CallSettings()
    turn_taking: TurnTakingSettings = TurnTakingSettings()
    replicas: ReplicaSettings = ReplicaSettings()
    # What the cluster would be told: the real policy decides. turn_sec, too, is what the policy believes.
    autoscaling: AutoscalingSettings = AutoscalingSettings(
        minimum_replicas=2, maximum_replicas=200, cold_start_sec=120.0, turn_sec=6.0
    )
    gateways: GatewaySettings = GatewaySettings()
    traffic: TrafficSettings = TrafficSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    prices: PriceSettings = PriceSettings()

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [scale.name for scale in self.scales]
        if len(set(names)) < len(names):
            raise ValueError(f"expected a name of its own for each scale, got {', '.join(names)}")
        if not self.cycle_sec:
            raise ValueError("expected turns that take time, got 0 s from one reply to the next")
        return self

    @property
    def slot_sec(self) -> float:
        """How long a turn keeps its slot, on average: from the pause until the last sound is made."""
        reply_sec = max(0.0, self.calls.reply.mean - self.replicas.ahead_sec)
        return max(self.head_start_sec, self.first_sound_sec) + reply_sec

    @property
    def head_start_sec(self) -> float:
        """From the pause to the decision that the turn is over, on average."""
        return max(0.0, self.turn_taking.endpoint_wait.mean - self.turn_taking.pause_sec)

    @property
    def first_sound_sec(self) -> float:
        """Of a replica whose slots are taken as far as is meant."""
        return self.replicas.first_sound_sec(round(self.autoscaling.occupancy * self.replicas.slots))

    @property
    def cycle_sec(self) -> float:
        """From the end of a reply to the end of the next, on average, where nothing has to wait."""
        calls = self.calls
        answer_sec = self.turn_taking.pause_sec + max(self.head_start_sec, self.first_sound_sec)
        return calls.think.mean + calls.speech.mean + answer_sec + calls.reply.mean

    def calls_per_sec(self, sessions: float) -> float:
        """How often somebody must call for so many to be there."""
        return sessions / (self.calls.turns * self.cycle_sec)

    def quick(self) -> Self:
        """The same in less time: fewer and smaller cells, a shorter day."""
        scales = tuple(_smaller(scale) for scale in self.scales)
        day = self.day.model_copy(update={"played_sec": min(self.day.played_sec, HOURS * 50.0)})
        return self.model_copy(update={"scales": scales, "day": day})


def _smaller(scale: ScaleSettings) -> ScaleSettings:
    return scale.model_copy(update={"cell_sessions": min(scale.cell_sessions, 500), "played_cells": 1})


def read_plan(file: Path | None) -> PlanSettings:
    """The plan in a YAML file, or the default one.

    Raises:
        SettingsError: it cannot be read, or something in it is unknown or wrong.
    """
    if file is None:
        return PlanSettings()
    try:
        content: Any = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"{file}: expected settings as YAML: {error}") from None
    if content is not None and not isinstance(content, dict):
        raise SettingsError(f"{file}: expected settings by name, got {type(content).__name__}")
    try:
        return settings_of(PlanSettings, content or {})
    except SettingsError as error:
        raise SettingsError(f"{file}: {error}") from None
