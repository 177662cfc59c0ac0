"""Files of traces as several programs write them: callers, an edge, an ingress and a replica, each with its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from routing.telemetry import names
from routing.telemetry.phase import Attribute, Carrier, Phase, in_sequence
from routing.telemetry.spans import Clock, Spans

EPOCH_NS = 1_800_000_000 * 10**9
SPEECH_SEC = 1.2


class Programs:
    """Each service writes to a file of its own in a folder, as processes on several machines do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._providers: dict[str, TracerProvider] = {}

    def spans(self, service: str) -> Spans:
        provider = self._providers.get(service) or self._provider(service)
        return Spans(provider.get_tracer("antiphon"), Clock(now=0.0, epoch_ns=EPOCH_NS))

    def _provider(self, service: str) -> TracerProvider:
        resource = Resource({"service.name": service, "service.namespace": names.NAMESPACE})
        provider = self._providers[service] = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.folder.mkdir(parents=True, exist_ok=True)
        provider.add_span_processor(SimpleSpanProcessor(FileSpanExporter(self.folder / f"{service}.jsonl")))
        return provider

    def close(self) -> None:
        for provider in self._providers.values():
            provider.shutdown()


class TurnWriter:
    """Writes one turn. Moments are told from the user's last sample of speech, in milliseconds.

    The endpointer waits for 100 ms, and the packet leaves 2 ms after the answer is there.
    """

    def __init__(self, programs: Programs, *, at: float, number: int = 1, answer_ms: float = 60.0) -> None:
        self.ids: dict[str, Attribute] = {
            names.SESSION_ID: "session-1",
            names.TURN_ID: f"turn-{number}",
            names.TURN_INDEX: number,
        }
        self._programs = programs
        self._at = at
        self._decided_ms = 100.0
        self._heard_ms = self._decided_ms + answer_ms
        self._root = self._edge.begin(names.TURN, at=at - SPEECH_SEC, attributes=self.ids)
        self.carrier: Carrier = self._root.carrier

    @property
    def _edge(self) -> Spans:
        return self._programs.spans(names.EDGE)

    def phase(self, name: str, begin_ms: float, end_ms: float, **more: Any) -> Phase:
        return Phase(name=name, begin=self._at + begin_ms / 1000, end=self._at + end_ms / 1000, **more)

    def write(self, phases: Iterable[Phase], *, service: str = names.EDGE, parent: Carrier | None = None) -> None:
        self._programs.spans(service).write(phases, parent=parent or self.carrier, attributes=self.ids)

    def spoken(self) -> TurnWriter:
        """Speech, the decision, the wait for an answer that is there 60 ms after it, and its first packet."""
        first_packet_ms = self._heard_ms + 2
        self.write(
            [
                self.phase(names.RECEIVE, -SPEECH_SEC * 1000, 0, attributes={names.CONCEALED_MS: 20}),
                self.phase(names.VAD_SEGMENT, -SPEECH_SEC * 1000, 0),
                self.phase(
                    names.ENDPOINT_WAIT,
                    0,
                    self._decided_ms,
                    attributes={names.ENDPOINT_REASON: "semantic"},
                    children=(self.phase(names.ENDPOINT_JUDGE, 64, 90),),
                ),
                self.phase(names.ANSWER_WAIT, self._decided_ms, self._heard_ms),
                self.phase(names.FIRST_PACKET, self._heard_ms, first_packet_ms),
                self.phase(names.PLAYOUT, first_packet_ms, first_packet_ms + 1500),
            ]
        )
        return self

    def heard_by_caller(self) -> TurnWriter:
        """12 ms to the edge, 12 back, 20 in the jitter buffer and 10 to the loudspeaker."""
        sent_ms = self._heard_ms + 2
        waits = {names.NETWORK_DOWNLINK: 12.0, names.JITTER_BUFFER: 20.0, names.FIRST_PLAYOUT: 10.0}
        after = in_sequence(self._at + sent_ms / 1000, waits)
        self.write([self.phase(names.NETWORK_UPLINK, -12, 0), *after], service=names.CALLER)
        return self

    def device_attempt(self, *, outcome: str, begin_ms: float, first_sound_ms: float, end_ms: float) -> TurnWriter:
        """Half of the time to the first sound goes into understanding."""
        half_ms = (end_ms - begin_ms) and first_sound_ms / 2
        phases = (
            self.phase("transcribe", begin_ms, begin_ms + half_ms),
            self.phase(names.FIRST_AUDIO, begin_ms + half_ms, begin_ms + first_sound_ms),
            self.phase(names.STREAM, begin_ms + first_sound_ms, end_ms),
        )
        told: Mapping[str, Attribute] = {names.ATTEMPT_OUTCOME: outcome, names.FIRST_SOUND_MS: round(first_sound_ms)}
        attempt = self.phase(f"{names.GENERATE} smollm2", begin_ms, end_ms, attributes=told, children=phases)
        self.write([attempt])
        return self

    def cloud_attempt(
        self,
        *,
        outcome: str = "told",
        begin_ms: float = 50.0,
        first_sound_ms: float = 110.0,
        end_ms: float = 900.0,
        error: str | None = None,
    ) -> Carrier:
        """5 ms on the wire, 20 in a queue, the rest to prefill and decoding; the wait links to a batch."""
        moment = self._at + begin_ms / 1000
        request = self._edge.begin(
            names.INFER_REQUEST, at=self._at - SPEECH_SEC, parent=self.carrier, kind="client", attributes=self.ids
        )
        told: dict[str, Attribute] = {names.ATTEMPT_OUTCOME: outcome, names.FIRST_SOUND_MS: round(first_sound_ms)}
        seen = self.phase(names.INFER_ATTEMPT, begin_ms, end_ms, attributes=told, error=error)
        self.write([seen], parent=request.carrier)
        ingress = self._programs.spans(names.INGRESS).begin(
            names.INGRESS_TURN, at=moment + 0.002, parent=request.carrier, kind="server", attributes=self.ids
        )
        batch = self._programs.spans(names.REPLICA).begin(names.STEP_WINDOW, at=moment + 0.02, links=[ingress.carrier])
        self._programs.spans(names.REPLICA).write(
            [self._generation(begin_ms, first_sound_ms, end_ms, batch.carrier)], parent=ingress.carrier
        )
        batch.end(at=moment + 0.03)
        ingress.end(at=self._at + (end_ms - 1) / 1000)
        request.end(at=self._at + end_ms / 1000, attributes=told, error=error)
        return request.carrier

    def _generation(self, begin_ms: float, first_sound_ms: float, end_ms: float, batch: Carrier) -> Phase:
        there_ms, sound_ms = begin_ms + 5, begin_ms + first_sound_ms - 5
        phases = (
            self.phase(names.QUEUE_WAIT, there_ms, there_ms + 20, links=(batch,)),
            self.phase(names.PREFILL, there_ms + 20, there_ms + 50),
            self.phase(names.FIRST_AUDIO, there_ms + 50, sound_ms),
            self.phase(names.STREAM, sound_ms, end_ms - 3),
        )
        return self.phase(f"{names.GENERATE} lfm2-audio", there_ms, end_ms - 2, children=phases, kind="server")

    def end(self, **attributes: Attribute) -> str:
        """The turn is over. Its trace's id."""
        told = {names.OUTCOME: "ok", **{name.replace("__", "."): value for name, value in attributes.items()}}
        self._root.end(at=self._at + 2.5, attributes=told)
        return self.carrier["traceparent"].split("-")[1]


def device_turn(programs: Programs, number: int, *, answer_ms: float = 60.0) -> str:
    """Answered here: a speculation was rolled back, and the next one was not ready when the turn's end was decided."""
    turn = TurnWriter(programs, at=10.0 * number, number=number, answer_ms=answer_ms).spoken().heard_by_caller()
    turn.device_attempt(outcome="rolled_back", begin_ms=-500, first_sound_ms=80, end_ms=-300)
    turn.device_attempt(outcome="told", begin_ms=64, first_sound_ms=36 + answer_ms, end_ms=700)
    return turn.end(voice__route__target="device", voice__route__reason="nobody else is there")


def cloud_turn(programs: Programs, number: int, *, answer_ms: float = 60.0) -> str:
    """Answered by a replica."""
    turn = TurnWriter(programs, at=10.0 * number, number=number, answer_ms=answer_ms).spoken().heard_by_caller()
    turn.cloud_attempt(first_sound_ms=50 + answer_ms)
    return turn.end(voice__route__target="cloud", voice__route__reason="better")


def hedged_turn(programs: Programs, number: int) -> str:
    """The cloud was given until 60 ms after the turn's end; the device, ready since 20 ms after it, spoke."""
    turn = TurnWriter(programs, at=10.0 * number, number=number).spoken().heard_by_caller()
    turn.device_attempt(outcome="told", begin_ms=64, first_sound_ms=56, end_ms=700)
    turn.cloud_attempt(outcome="cancelled", first_sound_ms=300, end_ms=165)
    return turn.end(voice__route__target="device", voice__route__reason="too late")


def typed_turn(programs: Programs, number: int) -> str:
    """Nothing was said."""
    turn = TurnWriter(programs, at=10.0 * number, number=number)
    return turn.end(voice__route__target="device")


def write_turns(folder: Path) -> Path:
    """One turn of each kind: 1 device, 2 cloud, 3 hedged, 4 typed."""
    programs = Programs(folder)
    device_turn(programs, 1)
    cloud_turn(programs, 2)
    hedged_turn(programs, 3)
    typed_turn(programs, 4)
    programs.close()
    return folder
