"""The objectives as rules for Prometheus: what was bad over several windows, and an alert where the budget melts away.

Burn rates and windows are those of the Site Reliability Workbook, chapter 5: an alert needs both windows, the long one
so that it means something and the short one so that it ends soon after the trouble did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import yaml

from deployments.dashboards.objective import OBJECTIVES, Objective

HEADER: Final = "# Written by `python -m deployments.dashboards` from deployments/dashboards/objective.py.\n"
RUNBOOK: Final = "{{ $externalURL }}/consoles/%s.md"  # Prometheus itself serves them; see compose.yaml

type Rule = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """How fast a budget of thirty days may melt before somebody is told."""

    rate: float
    long: str
    short: str
    severity: Literal["page", "ticket"]
    hold: str
    spent: str


BURNS: Final = (
    Burn(rate=14.4, long="1h", short="5m", severity="page", hold="2m", spent="2 % of the month's budget in an hour"),
    Burn(rate=6, long="6h", short="30m", severity="page", hold="15m", spent="5 % of the month's budget in six hours"),
    Burn(rate=3, long="1d", short="2h", severity="ticket", hold="1h", spent="10 % of the month's budget in a day"),
    Burn(rate=1, long="3d", short="6h", severity="ticket", hold="3h", spent="the month's budget in a month"),
)
WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


def rules() -> str:
    """The rule file, as YAML."""
    groups = [group for objective in OBJECTIVES for group in (_recording(objective), _alerting(objective))]
    return HEADER + yaml.safe_dump({"groups": groups}, sort_keys=False, width=110, allow_unicode=True)


def _recording(objective: Objective) -> Rule:
    recorded = [{"record": objective.record(window), "expr": objective.errors(window)} for window in WINDOWS]
    return {"name": f"{objective.name}_errors", "interval": "30s", "rules": recorded}


def _alerting(objective: Objective) -> Rule:
    return {"name": f"{objective.name}_burn", "rules": [_alert(objective, burn) for burn in BURNS]}


def _alert(objective: Objective, burn: Burn) -> Rule:
    return {
        "alert": objective.alert,
        "expr": _condition(objective, burn),
        "for": burn.hold,
        "labels": {"severity": burn.severity, "slo": objective.name, "burn": f"{burn.rate:g}"},
        "annotations": {
            "summary": objective.summary,
            "description": f"{{{{ $value | humanizePercentage }}}} were bad in {burn.long}, {objective.budget:.1%} may"
            f" be: {objective.description}. At this pace: {burn.spent}.",
            "runbook_url": RUNBOOK % objective.alert,
        },
    }


def _condition(objective: Objective, burn: Burn) -> str:
    most = f"{burn.rate:g} * {objective.budget:g}"
    return (
        f"{objective.record(burn.long)} > {most} and {objective.record(burn.short)} > {most}"
        f" and {objective.events.replace('$window', burn.long)} > {objective.seldom}"
    )
