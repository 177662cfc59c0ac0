"""What callers tell while they call: values that pass between processes as lines of JSON, and into the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

# Why a call came to nothing, or to an end before its time.
type Fault = Literal["full", "refused", "unreachable", "cut off", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedTurn:
    """One question, and what was heard after it. Times are in ms; a figure is None where there is none.

    Args:
        at_sec: the end of the question, since the beginning of the run
        v2v_ms: from the last sample of speech to the first audible sample of the reply, at the caller
        early: something was said while the caller still spoke
        ttfa_ms: from when the server's word arrived that the user has stopped until the first sound was audible
        server_ttfa_ms: from the decision that the turn is over to the first sound, as an Antiphon edge tells it
        endpoint_wait_ms: from the last sample of speech to that decision, as an Antiphon edge tells it
        tpot_ms: time per output step after the first, see `edge_client.load.output_steps`
        steps: how many output steps came
        gaps: how often a player that keeps 40 ms in hand would have run dry inside the reply
        starved_ms: and for how long in all
        concealed: packets of 20 ms that never came and were made up, since the turn before
    """

    call: int
    at_sec: float
    v2v_ms: float | None = None
    early: bool = False
    ttfa_ms: float | None = None
    server_ttfa_ms: float | None = None
    endpoint_wait_ms: float | None = None
    tpot_ms: float | None = None
    steps: int = 0
    gaps: int = 0
    starved_ms: float = 0.0
    lost: int = 0
    concealed: int = 0
    errors: tuple[str, ...] = ()

    @property
    def missed(self) -> bool:
        """Nothing was ever said to it."""
        return self.v2v_ms is None and not self.early


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBegan:
    """Somebody dials."""

    call: int
    at_sec: float
    listening: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallConnected:
    """Sound and events can flow."""

    call: int
    at_sec: float
    connect_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOutcome:
    """How a call went as a whole.

    Args:
        unasked: turns that could not be asked any more: they are missed like any other
        fault: how it ended before its time
        message: what was said about it
        retry_after_sec: where the server was full and said when it will not be
        resumed: how often it went on over another connection
        broken_off: by whoever runs the test
    """

    unasked: int = 0
    fault: Fault | None = None
    message: str = ""
    retry_after_sec: float | None = None
    resumed: int = 0
    lost: int = 0
    concealed: int = 0
    broken_off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded(CallOutcome):
    """A call is over."""

    call: int
    at_sec: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallersAtWork:
    """How a process of callers is doing: how late its event loop was in the last minute. Who is late measures wrong."""

    process: int
    at_sec: float
    p99_ms: float
    lag_ms: float  # at the worst


type News = LoadedTurn | CallBegan | CallConnected | CallEnded | CallersAtWork

KINDS: Final[Mapping[str, Callable[..., News]]] = {
    kind.__name__: kind for kind in (LoadedTurn, CallBegan, CallConnected, CallEnded, CallersAtWork)
}


def written(news: News) -> str:
    """As a line of text."""
    return json.dumps({"kind": type(news).__name__, **asdict(news)})


def read_news(line: str | bytes) -> News:
    """From such a line."""
    told: dict[str, Any] = json.loads(line)
    kind = KINDS[told.pop("kind")]
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in told.items()})
