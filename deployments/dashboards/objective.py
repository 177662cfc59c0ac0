"""What is promised to callers, as shares of what they meet: once, for the rules that watch it and for the boards.

A share is counted from histograms' buckets, never from quantiles: it can be added up over programs and told exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from routing.telemetry.metrics import (
    CONNECT_DURATION,
    INTERRUPT_STOP,
    PLAYED,
    SKIPPED,
    TIME_TO_FIRST_TOKEN,
    TURNS,
    VOICE_TO_VOICE,
)

RAY: Final = "ray_"  # what Ray's exporter puts before the names of replicas' metrics
CLOUD_SEC: Final = 0.8  # from the last sample of speech to the first of the reply, where the reply comes from elsewhere
DEVICE_SEC: Final = 1.2
SOUNDED: Final = 'outcome=~"ok|interrupted|fallback"'  # somebody heard a reply begin
UNANSWERED: Final = 'outcome="error"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One promise.

    Args:
        name: a word for rules and labels
        alert: the alert that watches over it, and its runbook
        target: the share that must be good, over thirty days
        good, total, events: PromQL with ``$window`` in it. The first two are rates, one number each; the last counts
            what ``total`` is about
        seldom: with fewer events than that in a window, nobody is woken
    """

    name: str
    alert: str
    summary: str
    description: str
    target: float
    good: str
    total: str
    events: str
    seldom: int = 50

    @property
    def budget(self) -> float:
        """The share that may be bad."""
        return round(1 - self.target, 6)

    def record(self, window: str) -> str:
        """The name of the recorded share of what was bad."""
        return f"voice:{self.name}_slo_errors:ratio_rate{window}"

    def errors(self, window: str) -> str:
        """PromQL of that share; nothing where nothing happened."""
        total = self.total.replace("$window", window)
        good = self.good.replace("$window", window)
        return f"1 - ({good} or 0 * {total}) / ({total} > 0)"


_V2V = VOICE_TO_VOICE.prometheus_name
_TTFT = RAY + TIME_TO_FIRST_TOKEN.prometheus_name
_CONNECT = CONNECT_DURATION.prometheus_name
_STOP = INTERRUPT_STOP.prometheus_name
_PLAYED = PLAYED.prometheus_name
_SKIPPED = SKIPPED.prometheus_name
_TURNS = TURNS.prometheus_name

TURN: Final = Objective(
    name="turn",
    alert="TurnBudgetBurn",
    summary="Callers wait too long for replies, or get none",
    description=f"late means later than {CLOUD_SEC} s, or {DEVICE_SEC} s where the device answers",
    target=0.99,
    good=f'sum(rate({_V2V}_bucket{{target="device",le="{DEVICE_SEC}",{SOUNDED}}}[$window])'
    f' or rate({_V2V}_bucket{{target!="device",le="{CLOUD_SEC}",{SOUNDED}}}[$window]))',
    total=f"sum(rate({_V2V}_count{{{SOUNDED}}}[$window]) or rate({_TURNS}{{{UNANSWERED}}}[$window]))",
    events=f"sum(increase({_TURNS}[$window]))",
)
FIRST_TOKEN: Final = Objective(
    name="first_token",
    alert="FirstTokenBudgetBurn",
    summary="Replicas are slow to begin their answers",
    description="slow means that the first word or sound took more than 0.25 s from the turn's admission",
    target=0.99,
    good=f'sum(rate({_TTFT}_bucket{{le="0.25"}}[$window]))',
    total=f"sum(rate({_TTFT}_count[$window]))",
    events=f"sum(increase({_TTFT}_count[$window]))",
)
SOUND: Final = Objective(
    name="sound",
    alert="SoundBudgetBurn",
    summary="Replies have holes: their sound comes too late to be played",
    description="counted in seconds of sound",
    target=0.999,
    good=f"(sum(rate({_PLAYED}[$window])) - (sum(rate({_SKIPPED}[$window])) or 0 * sum(rate({_PLAYED}[$window]))))",
    total=f"sum(rate({_PLAYED}[$window]))",  # what was left out is in it
    events=f"sum(increase({_PLAYED}[$window]))",
    seldom=300,
)
CONNECT: Final = Objective(
    name="connect",
    alert="ConnectBudgetBurn",
    summary="Callers cannot connect, or wait long for it",
    description="long means more than 2.5 s from the offer until sound could flow",
    target=0.995,
    good=f'sum(rate({_CONNECT}_bucket{{le="2.5",outcome="connected"}}[$window]))',
    total=f"sum(rate({_CONNECT}_count[$window]))",
    events=f"sum(increase({_CONNECT}_count[$window]))",
)
INTERRUPT: Final = Objective(
    name="interrupt",
    alert="InterruptBudgetBurn",
    summary="Replies go on although callers speak into them",
    description="meant to fall silent within 0.25 s",
    target=0.95,
    good=f'sum(rate({_STOP}_bucket{{le="0.25"}}[$window]))',
    total=f"sum(rate({_STOP}_count[$window]))",
    events=f"sum(increase({_STOP}_count[$window]))",
)

OBJECTIVES: Final = (TURN, FIRST_TOKEN, SOUND, CONNECT, INTERRUPT)
