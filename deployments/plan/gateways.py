"""The edges: who has a place for a call, and how many pods there should be, as Kubernetes reckons it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field


class HorizontalSettings(BaseModel):
    """The HorizontalPodAutoscaler of the edges, on sessions by pod."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    minimum_pods: int = Field(default=2, ge=1)
    maximum_pods: int = Field(default=1000, ge=1)
    target_share: float = Field(default=0.7, gt=0, le=1, description="of a pod's places that may be taken")
    tolerance: float = Field(default=0.1, ge=0, description="Kubernetes' default: within it nothing changes")
    every_sec: float = Field(default=15.0, gt=0, description="Kubernetes' default: between two looks")
    stabilization_sec: float = Field(default=300.0, ge=0, description="Kubernetes' default: before fewer")


class Recommendation(NamedTuple):
    """Of one look."""

    at: float
    pods: int


def desired_pods(sessions: int, pods: int, *, places: int, settings: HorizontalSettings) -> int:
    """How many pods one look asks for: ``ceil(sessions / target)``, or those that there are within the tolerance.

    From "Horizontal Pod Autoscaling", Kubernetes documentation, algorithm for an average value.
    """
    target = settings.target_share * places
    if pods and abs(sessions / (pods * target) - 1) <= settings.tolerance:
        return pods
    return min(max(ceil(sessions / target), settings.minimum_pods), settings.maximum_pods)


class Horizontal:
    """Remembers what was asked for lately: pods come at once, and go when none of the last looks needed them."""

    def __init__(self, settings: HorizontalSettings, places: int) -> None:
        self._settings = settings
        self._places = places
        self._asked: deque[Recommendation] = deque()

    def pods(self, sessions: int, pods: int, now: float) -> int:
        """How many there should be."""
        desired = desired_pods(sessions, pods, places=self._places, settings=self._settings)
        self._asked.append(Recommendation(now, desired))
        while self._asked[0].at < now - self._settings.stabilization_sec:
            self._asked.popleft()
        most = max(asked.pods for asked in self._asked)
        return desired if desired >= pods else min(most, pods)


@dataclass(slots=True, eq=False)
class Gateway:
    """One edge pod.

    Args:
        places: calls that it holds at the same time
        sessions: those that it holds; a dictionary, for its order is the same in every run
        is_open: takes further calls; one that starts or drains does not
        is_gone: has left, or has died
        device_replies: that its own models give at the moment
    """

    places: int
    sessions: dict[Any, None] = field(default_factory=dict)
    is_open: bool = False
    is_starting: bool = True
    is_gone: bool = False
    device_replies: int = 0

    @property
    def free(self) -> int:
        return self.places - len(self.sessions) if self.is_open else 0


def roomiest(gateways: list[Gateway]) -> Gateway | None:
    """The one with the most free places, or None where all are full."""
    best = max(gateways, key=_free, default=None)
    return best if best is not None and best.free > 0 else None


def _free(gateway: Gateway) -> int:
    return gateway.free
