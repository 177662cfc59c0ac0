"""What a measurement may come to at most, as said on the command line: ``v2v_p95=480``, ``misses=0``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite

from routing.errors import InvalidRequest

QUANTILES = ("p50", "p90", "p95", "p99", "max")

# Times are in ms. What each of them means stands in `edge_client.caller.probe_report`.
BUDGETS = (
    *(f"{measure}_{figure}" for measure in ("v2v", "connect") for figure in QUANTILES),
    "misses",
    "early",
    "gaps",
    "starved_ms",
    "lost",
    "concealed",
)


@dataclass(frozen=True, slots=True)
class Budget:
    """The measured figure called ``name`` may be at most ``limit``."""

    name: str
    limit: float

    def breach(self, figures: Mapping[str, float | None]) -> str | None:
        """How the budget was exceeded; None where it was kept. A figure that nobody could measure is a breach."""
        measured = figures[self.name]
        if measured is None:
            return f"{self.name} could not be measured, {self.limit:g} was allowed"
        return f"{self.name} is {measured:.4g}, {self.limit:g} was allowed" if measured > self.limit else None


def read_budget(text: str) -> Budget:
    """A budget from ``name=limit``.

    Raises:
        InvalidRequest: it is none, or there is no figure of this name.
    """
    name, _, limit = text.partition("=")
    if name not in BUDGETS:
        raise InvalidRequest(f"expected a budget of {', '.join(BUDGETS)}, got {name!r}", param="budget")
    return Budget(name, _number(name, limit))


def _number(name: str, text: str) -> float:
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not isfinite(limit) or limit < 0:
        raise InvalidRequest(f"expected {name}=NUMBER, 0 or more, got {name}={text}", param="budget")
    return limit


def breaches(budgets: Iterable[Budget], figures: Mapping[str, float | None]) -> list[str]:
    """What was exceeded, a line each."""
    return [breach for budget in budgets if (breach := budget.breach(figures))]
