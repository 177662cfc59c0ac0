"""Placements as a router writes them, for tests of those who read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from routing.latency import LEVELS, Distribution
from routing.policy import Choice, DeviceState, Prospect, Question, Traits
from routing.record import Outcome, PlacementRecord, Switch, Waste, as_json_line

HERE = Traits(is_remote=False)
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CLOUD = Traits(is_remote=True, quality_sec=0.3, cost_sec=0.05, languages=frozenset({"en", "de"}))


CHOICE = Choice(
    first="cloud",
    second="device",
    patience_sec=0.2,
    reason="worth waiting: cloud is better, 70% likely within 200 ms",
    predicted_sec={"device": 0.1, "cloud": 0.2},
)


def around(median_sec: float) -> Distribution:
    return Distribution(tuple(median_sec * (0.5 + level) for level in LEVELS))


def device(*, asked_ago_sec: float = 0.1, is_ready: bool = False, median_sec: float = 0.2) -> Prospect:
    response = around(median_sec)
    return Prospect(name="device", traits=HERE, response=response, asked_ago_sec=asked_ago_sec, is_ready=is_ready)


def cloud(*, median_sec: float = 0.3, failure: float = 0.0, why_not: str | None = None) -> Prospect:
    return Prospect(
        name="cloud",
        traits=CLOUD,
        response=around(median_sec),
        failure=failure,
        rtt_sec=0.05,
        asked_ago_sec=0.1,
        why_not=why_not,
    )


def record(
    *,
    turn_id: str = "turn-1",
    choice: Choice | None = None,
    prospects: tuple[Prospect, ...] | None = None,
    abandoned_sec: Mapping[str, float] | None = None,
    switches: tuple[Switch, ...] = (Switch(backend="device", instead_of="cloud", told_sec=0.0, why="too late"),),
    backend: str | None = "device",
    first_sound_sec: float | None = 0.1,
    arrivals: Mapping[str, float | None] | None = None,
    question: Question | None = None,
    opened: tuple[str, ...] = ("device", "cloud"),
) -> PlacementRecord:
    return PlacementRecord(
        turn_id=turn_id,
        session_id="session-1",
        index=3,
        at=1_800_000_000.25,
        policy="hedged",
        question=question or Question(speech_sec=1.5, language="en"),
        prospects=prospects or (device(), cloud()),
        device=DeviceState(load=0.4, battery=0.8),
        choice=choice or CHOICE,
        committed_after_sec=0.1,
        outcome=Outcome(
            backend=backend,
            first_sound_sec=first_sound_sec,
            ended="told" if backend else "failed",
            opened=opened,
            arrivals={"device": 0.2, "cloud": 0.4} if arrivals is None else arrivals,
            abandoned_sec=abandoned_sec or {},
            switches=switches,
            waste={"cloud": Waste(work_sec=0.3, sound_sec=1.2)},
        ),
        traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-01",
        decided_sec=0.00003,
    )


def write(path: Path, records: Sequence[PlacementRecord]) -> Path:
    path.write_text("".join(f"{as_json_line(each)}\n" for each in records))
    return path
