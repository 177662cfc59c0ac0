"""The edges: who has a place for a call, and how many pods there should be, as Kubernetes reckons it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Pace(BaseModel):
    """How many pods may come or go within a time: the higher one of a number and a share."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    pods: int = Field(ge=1)
    share: float = Field(ge=0)
    within_sec: float = Field(gt=0)

    def most(self, pods: int) -> int:
        """Of so many."""
        return max(self.pods, ceil(self.share * pods))


class HorizontalSettings(BaseModel):
    """The HorizontalPodAutoscaler of the edges, on sessions by pod, as k8s/components/autoscaling has it made."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    minimum_pods: int = Field(default=3, ge=1)
    maximum_pods: int = Field(default=1000, ge=1)
    target_share: float = Field(default=0.7, gt=0, le=1, description="of a pod's places that may be taken")
    tolerance: float = Field(default=0.1, ge=0, description="Kubernetes' default: within it nothing changes")
    every_sec: float = Field(default=15.0, gt=0, description="Kubernetes' default: between two looks")
    stabilization_sec: float = Field(default=900.0, ge=0, description="so long fewer must have been enough")
    up: Pace = Pace(pods=4, share=0.5, within_sec=30)
    # The share is for cells of hundreds of pods. One pod in five minutes, as shipped, would take half a day.
    down: Pace = Pace(pods=1, share=0.1, within_sec=300)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.maximum_pods < self.minimum_pods:
            raise ValueError(f"expected maximum_pods of at least {self.minimum_pods}, got {self.maximum_pods}")
        return self


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


class Change(NamedTuple):
    """So many more, or fewer."""

    at: float
    pods: int


class Horizontal:
    """Remembers what was asked for lately: pods come at once, and go when none of the last looks needed them."""

    def __init__(self, settings: HorizontalSettings, places: int) -> None:
        self._settings = settings
        self._places = places
        self._asked: deque[Recommendation] = deque()
        self._changes: deque[Change] = deque()

    def pods(self, sessions: int, pods: int, now: float) -> int:
        """How many there should be."""
        settings = self._settings
        desired = desired_pods(sessions, pods, places=self._places, settings=settings)
        self._asked.append(Recommendation(now, desired))
        while self._asked[0].at < now - settings.stabilization_sec:
            self._asked.popleft()
        if desired < pods:
            desired = min(pods, max(asked.pods for asked in self._asked))
        wanted = self._paced(desired, pods, now)
        self._changes.append(Change(now, wanted - pods))
        return wanted

    def _paced(self, desired: int, pods: int, now: float) -> int:
        """No faster than is allowed, counted from how many there were when the time began."""
        settings = self._settings
        while self._changes and self._changes[0].at < now - max(settings.up.within_sec, settings.down.within_sec):
            self._changes.popleft()
        come = self._changed(settings.up, now, sign=1)
        gone = self._changed(settings.down, now, sign=-1)
        most = pods - come + settings.up.most(pods - come)
        least = pods + gone - settings.down.most(pods + gone)
        return max(min(desired, max(most, pods)), min(least, pods))

    def _changed(self, pace: Pace, now: float, *, sign: int) -> int:
        return sum(max(0, sign * change.pods) for change in self._changes if change.at > now - pace.within_sec)


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
