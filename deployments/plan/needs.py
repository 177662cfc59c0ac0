"""What so many sessions need, by arithmetic alone: Little's law, shares and prices."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, sqrt

from deployments.plan.settings import PlanSettings, PriceSettings
from deployments.plan.traffic import traffic

MIB_PER_GIB = 1024
SECONDS_PER_HOUR = 3600


def step_bound_sec(text_run: int = 6, audio_run: int = 12, frame_sec: float = 0.08) -> float:
    """The longest step that keeps up with speech: a cycle of both kinds of step makes ``audio_run`` frames."""
    return audio_run * frame_sec / (text_run + audio_run)


def most_slots(step_base_sec: float, step_row_sec: float, *, share: float = 0.75) -> int:
    """How many replies a step may have in it: ``base + row * slots <= share * bound``."""
    return max(0, floor((share * step_bound_sec() - step_base_sec) / step_row_sec))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Units of money for an hour, by the prices of the settings."""

    gpus: float
    cores: float
    memory: float
    egress: float

    @property
    def total(self) -> float:
        return self.gpus + self.cores + self.memory + self.egress


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Of so many sessions at the same time.

    Args:
        turns_per_sec: asked
        cloud_turns_per_sec: of those, what may leave the edge
        slots: taken on average, by Little's law
        replicas, gpus: with the share of slots that is meant to be taken
        spare_replicas: by so much more the slots in use scatter upwards once in 40 looks (two deviations)
        gateways: pods, by their places
        gateway_cores, gateway_gib: of all pods together, as far as sessions use them
        pod_cores: of one pod whose places are taken as far as is meant
        egress_bits, ingress_bits: a second, to and from callers
        cloud_bits: a second, between edges and replicas, both ways
        relayed_calls, relay_bits, relays: through TURN
        spans_per_sec, kept_spans_per_sec, collectors: of telemetry before and after sampling
    """

    sessions: float
    turns_per_sec: float
    cloud_turns_per_sec: float
    slots: float
    replicas: int
    gpus: float
    spare_replicas: int
    gateways: int
    gateway_cores: float
    gateway_gib: float
    pod_cores: float
    egress_bits: float
    ingress_bits: float
    cloud_bits: float
    relayed_calls: float
    relay_bits: float
    relays: int
    spans_per_sec: float
    kept_spans_per_sec: float
    collectors: int
    cost: Cost


def needs(settings: PlanSettings, sessions: float) -> Needs:
    """By arithmetic: nothing fails, nobody waits, and replicas are there when they are needed."""
    turns_per_sec = sessions / settings.cycle_sec
    cloud = turns_per_sec * (1 - settings.calls.private_share)
    slots = cloud * settings.slot_sec
    replicas = replicas_for(settings, slots)
    gateways = ceil(sessions / (settings.gateways.scaling.target_share * settings.gateways.places))
    of_call, telemetry, relayed = traffic(settings), settings.telemetry, settings.traffic.relayed_share * sessions
    spans = turns_per_sec * telemetry.spans_per_turn
    kept = telemetry.kept_share + telemetry.notable_share - telemetry.kept_share * telemetry.notable_share
    cores, gib = gateway_cores(settings, sessions), gateway_gib(settings, sessions, gateways)
    gpus = replicas * settings.replicas.gpus
    return Needs(
        sessions=sessions,
        turns_per_sec=turns_per_sec,
        cloud_turns_per_sec=cloud,
        slots=slots,
        replicas=replicas,
        gpus=gpus,
        spare_replicas=replicas_for(settings, slots + 2 * sqrt(slots)) - replicas,
        gateways=gateways,
        gateway_cores=cores,
        gateway_gib=gib,
        pod_cores=gateway_cores(settings, settings.gateways.scaling.target_share * settings.gateways.places),
        egress_bits=sessions * of_call.down,
        ingress_bits=sessions * of_call.up,
        cloud_bits=sessions * (of_call.to_cloud + of_call.from_cloud),
        relayed_calls=relayed,
        relay_bits=relayed * of_call.relayed,
        relays=relays_for(settings, relayed, relayed * of_call.relayed),
        spans_per_sec=spans,
        kept_spans_per_sec=spans * kept,
        collectors=ceil(spans / telemetry.spans_per_collector),
        cost=cost(settings.prices, gpus=gpus, cores=cores, gib=gib, egress_bits=sessions * of_call.down),
    )


def replicas_for(settings: PlanSettings, slots: float) -> int:
    """So many that no more than the share that is meant of their slots is taken."""
    return ceil(slots / (settings.autoscaling.occupancy * settings.replicas.slots))


def gateway_cores(settings: PlanSettings, sessions: float, *, device_share: float | None = None) -> float:
    """That edges use for so many sessions. Without a share for the device, it answers what is private."""
    gateways = settings.gateways
    by_device = settings.calls.private_share if device_share is None else device_share
    turn_core_sec = gateways.turn_core_sec + by_device * gateways.device_core_sec
    return sessions * (gateways.session_cores + gateways.hearing_cores + turn_core_sec / settings.cycle_sec)


def gateway_gib(settings: PlanSettings, sessions: float, pods: float) -> float:
    """Memory of all pods."""
    return (pods * settings.gateways.base_mib + sessions * settings.gateways.session_mib) / MIB_PER_GIB


def relays_for(settings: PlanSettings, calls: float, bits: float) -> int:
    """TURN servers: each has so many ports, and carries so much."""
    return ceil(max(calls / settings.traffic.relay_ports, bits / settings.traffic.relay_bits_per_sec))


def cost(prices: PriceSettings, *, gpus: float, cores: float, gib: float, egress_bits: float) -> Cost:
    """For an hour of that."""
    return Cost(
        gpus=gpus * prices.gpu_hour,
        cores=cores * prices.core_hour,
        memory=gib * prices.gib_hour,
        egress=egress_bits / 8 * SECONDS_PER_HOUR / 1e9 * prices.egress_gb,
    )
