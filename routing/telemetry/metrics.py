"""Every metric there is: its name, unit, labels and buckets, once, for those who count and for those who watch.

Labels are few and their values fewer: never an id, never a text that somebody wrote. Buckets have an edge at each bound
that an objective names, so that alerts can count good and bad without interpolating.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

type MetricKind = Literal["counter", "up_down_counter", "gauge", "histogram"]
type Place = Literal["edge", "cloud", "both"]  # who counts it: the edge at /metrics, replicas through Ray's exporter

WAITS_SEC: Final = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0)
VOICE_TO_VOICE_SEC: Final = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
FIRST_TOKEN_SEC: Final = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
PER_TOKEN_SEC: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
REQUEST_SEC: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
CONNECT_SEC: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0, 10.0)
BATCH_SIZES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)

_UNITS: Final[Mapping[str, str]] = {"s": "seconds", "J": "joules", "W": "watts", "By": "bytes", "1": "ratio"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One instrument.

    Args:
        unit: "s", "J", "W", "By", "1" for a part of one, or "{turn}" and the like for what is counted
        labels: the names of its attributes
        bounds: the upper edges of a histogram's buckets, in ``unit``
    """

    name: str
    kind: MetricKind
    unit: str
    description: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    place: Place = "edge"

    @property
    def prometheus_name(self) -> str:
        """The name on a scrape, without a histogram's ``_bucket``, ``_sum`` and ``_count``."""
        name = self.name.replace(".", "_")
        if self.prometheus_unit:
            name = f"{name}_{self.prometheus_unit}"
        return f"{name}_total" if self.kind == "counter" else name

    @property
    def prometheus_unit(self) -> str:
        """The unit at the end of that name; empty where things are counted."""
        return _UNITS.get(self.unit, "")


# -- what callers feel -------------------------------------------------------------------------------------------------

VOICE_TO_VOICE = Metric(
    name="voice.turn.first_audio_latency",
    kind="histogram",
    unit="s",
    description="From the user's last sample of speech to the first sound of the reply",
    labels=("target", "outcome", "measured"),  # measured: by the caller's own ears, or at the edge
    bounds=VOICE_TO_VOICE_SEC,
)
TIME_TO_FIRST_AUDIO = Metric(
    name="voice.turn.ttfa",
    kind="histogram",
    unit="s",
    description="From the end-of-turn decision to the first packet of the reply",
    labels=("target",),
    bounds=WAITS_SEC,
)
ENDPOINT_DELAY = Metric(
    name="voice.endpoint.delay",
    kind="histogram",
    unit="s",
    description="From the user's last sample of speech to the end-of-turn decision",
    labels=("reason",),
    bounds=WAITS_SEC,
)
TURNS = Metric(
    name="voice.turns", kind="counter", unit="{turn}", description="Turns that are over", labels=("target", "outcome")
)
INTERRUPT_STOP = Metric(
    name="voice.interrupt.stop_latency",
    kind="histogram",
    unit="s",
    description="From noticing that the user speaks into a reply to silence",
    bounds=WAITS_SEC,
)
UNDERRUNS = Metric(
    name="voice.audio.underruns", kind="counter", unit="{reply}", description="Replies with silence in their middle"
)
CONCEALED = Metric(
    name="voice.audio.concealed",
    kind="counter",
    unit="s",
    description="Sound that was made up in the place of lost packets",
    labels=("direction",),  # in: of the user, out: of the reply, as the caller tells
)
PLAYED = Metric(
    name="voice.audio.played", kind="counter", unit="s", description="Sound that callers were sent, silence included"
)
SKIPPED = Metric(
    name="voice.audio.skipped", kind="counter", unit="s", description="Sound that was left out, too late to be of use"
)
CONNECT_DURATION = Metric(
    name="voice.connect.duration",
    kind="histogram",
    unit="s",
    description="From the offer until sound could flow",
    labels=("outcome",),
    bounds=CONNECT_SEC,
)
CONNECTIONS = Metric(
    name="voice.connections",
    kind="counter",
    unit="{connection}",
    description="Connections that came about, by the farther of the two addresses that they go between",
    labels=("pair",),  # relay, srflx, prflx or host
)

REFUSED_REQUESTS = Metric(
    name="voice.requests.refused",
    kind="counter",
    unit="{request}",
    description="Requests that were not let in",
    labels=("reason",),
)

# -- the router --------------------------------------------------------------------------------------------------------

DECISIONS = Metric(
    name="voice.route.decisions",
    kind="counter",
    unit="{turn}",
    description="Turns by who answered and why",
    labels=("target", "reason"),
)
PREDICTION_ERROR = Metric(
    name="voice.route.prediction_error",
    kind="histogram",
    unit="s",
    description="How far the expected first sound was from the one that came",
    labels=("target",),
    bounds=WAITS_SEC,
)
REGRET = Metric(
    name="voice.route.regret",
    kind="histogram",
    unit="s",
    description="What the best backend in hindsight would have saved",
    bounds=WAITS_SEC,
)
WASTE = Metric(
    name="voice.route.waste",
    kind="counter",
    unit="s",
    description="Work for answers that nobody heard",
    labels=("target",),
)
SWITCHES = Metric(
    name="voice.route.switches",
    kind="counter",
    unit="{turn}",
    description="Turns that one backend took over from another",
    labels=("target", "reason"),
)

CIRCUIT = Metric(
    name="voice.route.circuit",
    kind="gauge",
    unit="{state}",
    description="Whether a backend is asked: 0 as ever, 1 now and then to see whether it is well again, 2 not at all",
    labels=("target",),
)

# -- models ------------------------------------------------------------------------------------------------------------

TIME_TO_FIRST_TOKEN = Metric(
    name="gen_ai.server.time_to_first_token",
    kind="histogram",
    unit="s",
    description="From the asking to the first word or sound, of the answers that turns got",
    labels=("model",),
    bounds=FIRST_TOKEN_SEC,
    place="both",
)
TIME_PER_TOKEN = Metric(
    name="gen_ai.server.time_per_output_token",
    kind="histogram",
    unit="s",
    description="Time per output step after the first",
    labels=("model",),
    bounds=PER_TOKEN_SEC,
    place="cloud",
)
REQUEST_DURATION = Metric(
    name="gen_ai.server.request.duration",
    kind="histogram",
    unit="s",
    description="Answers, from the asking to their end",
    labels=("model", "outcome"),
    bounds=REQUEST_SEC,
    place="both",
)
QUEUE_WAIT = Metric(
    name="voice.queue.wait",
    kind="histogram",
    unit="s",
    description="How long a turn waited for its slot",
    bounds=WAITS_SEC,
    place="cloud",
)
BATCH_SIZE = Metric(
    name="voice.batch.size",
    kind="histogram",
    unit="{turn}",
    description="Turns in a step of the model",
    bounds=BATCH_SIZES,
    place="cloud",
)
SLOTS_IN_USE = Metric(
    name="voice.slots.in_use", kind="gauge", unit="{slot}", description="Replies that are being made", place="cloud"
)
SLOTS = Metric(
    name="voice.slots", kind="gauge", unit="{slot}", description="Replies that could be made at once", place="cloud"
)
REFUSED = Metric(
    name="voice.turns.refused", kind="counter", unit="{turn}", description="Turns that found no place", place="cloud"
)

# -- the program -------------------------------------------------------------------------------------------------------

SESSIONS = Metric(
    name="voice.sessions.active", kind="gauge", unit="{session}", description="Callers that are connected"
)
CAPACITY = Metric(
    name="voice.session.capacity", kind="gauge", unit="{session}", description="Callers that could be connected"
)
SESSIONS_MOVED = Metric(
    name="voice.sessions.moved",
    kind="counter",
    unit="{session}",
    description="Sessions that left a draining edge, and those that came from one",
    labels=("how",),  # left with a ticket, left without one, cut by us, or restored here
)
LOOP_LAG = Metric(
    name="voice.event_loop.lag",
    kind="gauge",
    unit="s",
    description="How late the event loop was, over the last minute",
    labels=("percentile",),  # 50, 99 and 100: the worst
)
CPU_TIME = Metric(
    name="process.cpu.time",
    kind="counter",
    unit="s",
    description="Processor time of this process",
    place="both",
)
START_DURATION = Metric(
    name="process.start.duration",
    kind="gauge",
    unit="s",
    description="How long it took this process, or this replica, to be ready after it was started",
    place="both",
)
MEMORY = Metric(
    name="process.memory.usage", kind="gauge", unit="By", description="Resident memory of this process", place="both"
)
GPU_UTILIZATION = Metric(
    name="hw.gpu.utilization",
    kind="gauge",
    unit="1",
    description="Part of the time in which the GPU worked",
    labels=("hw_id",),
    place="both",
)
ENERGY = Metric(
    name="hw.energy",
    kind="counter",
    unit="J",
    description="Energy by the meters of this machine, since the program began; absent where there are none",
    labels=("hw_id", "source"),  # source: nvml or rapl
    place="both",
)
POWER = Metric(
    name="hw.power",
    kind="gauge",
    unit="W",
    description="Power by the same meters, between two looks",
    labels=("hw_id", "source"),
    place="both",
)
DROPPED_SPANS = Metric(
    name="voice.telemetry.dropped_spans",
    kind="counter",
    unit="{span}",
    description="Spans that found the queue full, or that nobody took",
    labels=("why",),
    place="both",
)

METRICS: Final[tuple[Metric, ...]] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
