"""Where a turn was answered, as the server tells it: by whom, why, and how soon that was expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What a server told of a turn's placement.

    Args:
        backends: who spoke, in this order; more than one where the speaker changed
        reason: why the last of them did
        predicted_ms: for each candidate the voice-to-voice time that was expected of it, without the way to the caller
    """

    backends: tuple[str, ...]
    reason: str = ""
    predicted_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return " → ".join(self.backends)

    @property
    def expected_ms(self) -> float | None:
        """What was expected of whoever spoke first."""
        return self.predicted_ms.get(self.backends[0])


def read_placement(told: Mapping[str, object]) -> Placed | None:
    """The placement in what a server told, or None: most servers tell nothing, and some another thing."""
    speakers = [speaker for speaker in (told, *_mappings(told.get("switches"))) if speaker.get("backend")]
    if not told.get("backend"):
        return None
    return Placed(
        backends=tuple(str(speaker["backend"]) for speaker in speakers),
        reason=str(speakers[-1].get("reason") or ""),
        predicted_ms=_milliseconds(told.get("predicted_ms")),
    )


def _mappings(value: object) -> list[Mapping[str, object]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _milliseconds(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping):
        return {}
    return {str(name): float(ms) for name, ms in value.items() if isinstance(ms, int | float)}
