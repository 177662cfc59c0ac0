"""A deployment of any size: cells that share nothing, of which some are played and the others follow them.

A cell is a RayService with edges of its own. That is how one would run it, too: one controller decides for a few dozen
replicas and not for a hundred thousand, a fault or a bad version stays in its cell, and a caller's region is a cell's
region. Because cells share nothing, ten thousand of them are one cell ten thousand times, and what is left to chance in
each evens out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deployments.plan.cell import Cell
from deployments.plan.day import HOURS
from deployments.plan.needs import Cost, Needs, cost, gateway_cores, gateway_gib, needs
from deployments.plan.settings import PlanSettings, ScaleSettings
from deployments.plan.tally import STRETCHES, Stretch, Tail, Tally, tail, together
from deployments.plan.traffic import traffic

SEEDS_BETWEEN = 1000  # of one scale and the next

type Told = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Along the day, for the deployment as a whole: one value for each stretch, times in hours, waits in seconds."""

    hours: list[float]
    sessions: list[float]
    wanted: list[float]
    ready: list[float]
    alive: list[float]
    gateways: list[float]
    occupied: list[float]
    slots: list[float]
    v2v: list[Tail]
    cloud: list[float]
    device: list[float]
    refused: list[float]
    failures: list[float]
    cost: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a deployment of one size comes to.

    Args:
        played: the cells that were played, added up
        spread: of the mean of slots in use, between played cells: the largest over the smallest, less one
        factor: cells for each that was played
        needs: of the busiest time, by arithmetic
        mean_cost, peak_cost: by the simulation, for an hour
    """

    scale: ScaleSettings
    played: Tally
    spread: float
    factor: float
    v2v: Tail
    queue_wait: Tail
    first_audio: Tail
    gap: Tail
    needs: Needs
    series: Series
    mean_cost: Cost
    peak_cost: float

    def share(self, name: str) -> float:
        """Of the turns that are over."""
        counts = self.played.counts
        over = counts.asked - counts.open
        return getattr(counts, name) / over if over else 0.0


def play(settings: PlanSettings, *, seed: int, told: Told = lambda _, __: None) -> list[Outcome]:
    """All scales, one after the other. ``told`` hears the name of each and the share of it that is over."""
    return [
        play_scale(settings, scale, seed=seed + SEEDS_BETWEEN * number, told=told)
        for number, scale in enumerate(settings.scales)
    ]


def play_scale(settings: PlanSettings, scale: ScaleSettings, *, seed: int, told: Told = lambda _, __: None) -> Outcome:
    """One size."""
    hours = settings.day.hours
    cells = scale.cells(hours)
    sessions = scale.all_cells_sessions(hours) / cells
    count = min(cells, max(scale.played_cells, scale.regions))
    tallies = []
    for number in range(count):
        cell = Cell(settings, sessions=sessions, seed=seed + number, shift_hours=scale.shifts[number % scale.regions])
        tallies.append(cell.play(lambda share, before=number: told(scale.name, (before + share) / count)))  # type: ignore[misc]  # it sees no default
    return _outcome(settings, scale, tallies)


def _outcome(settings: PlanSettings, scale: ScaleSettings, tallies: list[Tally]) -> Outcome:
    played = together(tallies)
    factor = scale.cells(settings.day.hours) / len(tallies)
    occupied = [tally.mean("occupied") for tally in tallies]
    series = _series(settings, played, factor)
    return Outcome(
        scale=scale,
        played=played,
        spread=max(occupied) / min(occupied) - 1 if min(occupied) else 0.0,
        factor=factor,
        v2v=played.voice_to_voice(),
        queue_wait=tail(played.queue_waits),
        first_audio=tail(played.first_audio),
        gap=tail(played.gaps),
        needs=needs(settings, scale.sessions),
        series=series,
        mean_cost=_cost(settings, played, factor),
        peak_cost=max(series.cost),
    )


def _series(settings: PlanSettings, played: Tally, factor: float) -> Series:
    stretches, all_cells = played.stretches, factor * played.cells
    ready = [stretch.mean("ready") * all_cells for stretch in stretches]
    return Series(
        hours=[HOURS * index / STRETCHES for index in range(STRETCHES)],
        sessions=[stretch.mean("sessions") * all_cells for stretch in stretches],
        wanted=[stretch.mean("wanted") * all_cells for stretch in stretches],
        ready=ready,
        alive=[stretch.mean("alive") * all_cells for stretch in stretches],
        gateways=[stretch.mean("gateways") * all_cells for stretch in stretches],
        occupied=[stretch.mean("occupied") * all_cells for stretch in stretches],
        slots=[count * settings.replicas.slots for count in ready],
        v2v=[tail(stretch.voice_to_voice) for stretch in stretches],
        cloud=[stretch.cloud / max(1, _over(stretch)) for stretch in stretches],
        device=[stretch.device / max(1, _over(stretch)) for stretch in stretches],
        refused=[(stretch.refused + stretch.lost) / max(1, _over(stretch)) for stretch in stretches],
        failures=[stretch.failures * factor for stretch in stretches],
        cost=[_cost_of(settings, stretch, all_cells).total for stretch in stretches],
    )


def _over(stretch: Stretch) -> int:
    return stretch.cloud + stretch.device + stretch.refused + stretch.lost


def _cost(settings: PlanSettings, played: Tally, factor: float) -> Cost:
    """For an hour, on average over the day."""
    parts = [_cost_of(settings, stretch, factor * played.cells) for stretch in played.stretches]
    return Cost(
        gpus=sum(part.gpus for part in parts) / len(parts),
        cores=sum(part.cores for part in parts) / len(parts),
        memory=sum(part.memory for part in parts) / len(parts),
        egress=sum(part.egress for part in parts) / len(parts),
    )


def _cost_of(settings: PlanSettings, stretch: Stretch, cells: float) -> Cost:
    """GPUs and pods are paid for while they start and while they leave, too, and pods whether or not they are busy."""
    sessions, pods = cells * stretch.mean("sessions"), cells * stretch.mean("gateways")
    used = gateway_cores(settings, sessions, device_share=stretch.device / max(1, _over(stretch)))
    return cost(
        settings.prices,
        gpus=cells * stretch.mean("alive") * settings.replicas.gpus,
        cores=max(used, pods * settings.gateways.cores),
        gib=gateway_gib(settings, sessions, pods),
        egress_bits=sessions * traffic(settings).down,
    )
