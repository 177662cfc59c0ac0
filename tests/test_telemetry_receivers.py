"""Two receivers that share no code understand the same of what leaves a program, and so does whoever reads its file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from routing.telemetry import collector, names
from routing.telemetry.collector import Collector, metric_exporter
from routing.telemetry.finished_span import FinishedSpan
from routing.telemetry.json_file import JsonFile
from routing.telemetry.metrics import DROPPED_SPANS, TIME_TO_FIRST_AUDIO, TURNS
from routing.telemetry.phase import Phase
from routing.telemetry.program import Telemetry
from routing.telemetry.settings import TelemetrySettings
from routing.telemetry.spans import Clock, trace_id_of
from tests.otlp_receiver import otlp_receiver
from tests.otlp_sink import otlp_sink

pytestmark = pytest.mark.node

FROM_BEFORE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "vendor=7"}
SPANS = 6
PATIENCE_SEC = 15.0  # for receivers that answer, one of them a process of its own on a busy machine
ONCE_AT_THE_END_MS = 1e9


def tell_all_there_is(telemetry: Telemetry) -> str:
    """A turn with everything that a span can have; returns its trace."""
    edge, caller, replica = (telemetry.spans(each) for each in (names.EDGE, names.CALLER, names.REPLICA))
    common = {names.SESSION_ID: "sess_1"}
    root = edge.begin(names.TURN, at=0.0, links=[FROM_BEFORE], attributes=common)
    judged = Phase(name=names.ENDPOINT_JUDGE, begin=0.51, end=0.53, attributes={names.ENDPOINT_SOUND_SCORE: 0.875})
    waited = Phase(name=names.ENDPOINT_WAIT, begin=0.5, end=0.7, children=(judged,))
    edge.write([waited], parent=root.carrier, attributes=common)
    request = edge.begin(names.INFER_REQUEST, at=0.3, parent=root.carrier, kind="client")
    answered = Phase(
        name=names.GENERATE,
        begin=0.4,
        end=0.6,
        kind="server",
        links=(root.carrier, FROM_BEFORE),
        attributes={"ids": ["ä", "ö"], "yes": True, "many": 2**40, "none": None, "unknown": float("nan"), "": "x"},
        error="the model stumbled",
    )
    replica.write([answered], parent=dict(request.carrier))
    request.end(at=0.9, attributes={names.ATTEMPT: 1})
    caller.write([Phase(name=names.FIRST_PLAYOUT, begin=0.9, end=1.1)], parent=root.carrier, attributes=common)
    root.end(at=1.2, attributes={names.OUTCOME: "ok"})
    telemetry.instruments.record(TIME_TO_FIRST_AUDIO, 0.2, {"target": "cloud"}, carrier=root.carrier)
    telemetry.instruments.add(TURNS, 1, {"target": "cloud", "outcome": "ok"}, carrier=root.carrier)
    return trace_id_of(root.carrier)


def by_id(spans: Iterable[FinishedSpan]) -> dict[str, FinishedSpan]:
    return {span.span_id: span for span in spans}


def as_javascript_reads(span: FinishedSpan) -> FinishedSpan:
    """It has no tuples."""
    attributes = {name: list(value) if isinstance(value, tuple) else value for name, value in span.attributes.items()}
    return replace(span, attributes=attributes)


def sent_to(urls: list[str], path: Path) -> Telemetry:
    settings = [TelemetrySettings(endpoint=url) for url in urls]
    return Telemetry.within(
        Clock(now=0.0, epoch_ns=1_700_000_000_000_000_000),
        service=names.EDGE,
        outlets=[
            *(Collector(each.address("traces"), timeout_sec=PATIENCE_SEC) for each in settings),
            JsonFile(path, mebibytes=1),
        ],
        readers=[
            PeriodicExportingMetricReader(metric_exporter(each.address("metrics")), ONCE_AT_THE_END_MS)
            for each in settings
        ],
    )


@pytest.mark.timeout(60)
async def test_all_receivers_understand_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "TIMEOUT_SEC", PATIENCE_SEC)  # for metrics, and until an answer was read
    path = tmp_path / "traces.jsonl"
    async with otlp_sink() as sink, otlp_receiver() as foreign:
        telemetry = await asyncio.to_thread(sent_to, [sink.url, foreign.url], path)
        trace_id = tell_all_there_is(telemetry)
        kept = by_id(telemetry.book.trace(trace_id))
        await asyncio.to_thread(telemetry.close, PATIENCE_SEC)
        assert (telemetry.statistics().exported, len(kept)) == (3 * SPANS, SPANS)

        assert by_id(sink.spans) == kept
        assert sink.metric_names == {TIME_TO_FIRST_AUDIO.name, TURNS.name, DROPPED_SPANS.name}

        understood = await foreign.until_spans(SPANS)
        read = {span_id: as_javascript_reads(span) for span_id, span in kept.items()}
        assert by_id(each.span for each in understood) == read
        assert {each.span.name: each.kind for each in understood if each.kind != "SPAN_KIND_INTERNAL"} == {
            names.INFER_REQUEST: "SPAN_KIND_CLIENT",
            names.GENERATE: "SPAN_KIND_SERVER",
        }
        assert all(each.resource in sink.resources for each in understood)
        assert {each.scope["name"] for each in understood} == {"antiphon"}
        assert await foreign.until_metrics() == sink.metric_names

        await post_lines(path, f"{foreign.url}/v1/traces")
        assert by_id(each.span for each in (await foreign.until_spans(2 * SPANS))[SPANS:]) == read


async def post_lines(path: Path, address: str) -> None:
    async with httpx.AsyncClient() as client:
        for line in (await asyncio.to_thread(path.read_text)).splitlines():
            answer = await client.post(address, content=line, headers={"Content-Type": "application/json"})
            answer.raise_for_status()
