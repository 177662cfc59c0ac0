"""A program's telemetry leaves it whole where it is welcome, and keeps nothing waiting where it is not."""

from __future__ import annotations

import asyncio
import getpass
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import metrics, trace

from routing.errors import SettingsError
from routing.telemetry import batches, names
from routing.telemetry.batches import TelemetryStatistics
from routing.telemetry.metrics import TIME_TO_FIRST_AUDIO
from routing.telemetry.phase import Carrier, Phase
from routing.telemetry.program import Telemetry, open_telemetry
from routing.telemetry.settings import TelemetrySettings
from routing.telemetry.spans import trace_id_of
from tests.otlp_sink import black_hole, nobody_listens, otlp_sink

LEFT_SEC = 10.0  # by then a program has left that does not wait for its collector; the SDK's own may wait for longer
PATIENCE_SEC = 10.0  # for a collector that answers, on a busy machine
UNSAMPLED = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "tracestate": "vendor=7"}


def opened(settings: TelemetrySettings, **more: Any) -> AbstractAsyncContextManager[Telemetry]:
    """With time to leave for as long as a collector takes that answers."""
    return open_telemetry(settings, service=names.EDGE, leaving_sec=PATIENCE_SEC, **more)


def write_turn(telemetry: Telemetry, parent: Carrier | None = None) -> Carrier:
    now = asyncio.get_running_loop().time()
    edge, caller = telemetry.spans(names.EDGE), telemetry.spans(names.CALLER)
    root = edge.begin(names.TURN, at=now - 1.0, parent=parent)
    edge.write([Phase(name=names.ENDPOINT_WAIT, begin=now - 0.9, end=now - 0.6)], parent=root.carrier)
    caller.write([Phase(name=names.FIRST_PLAYOUT, begin=now - 0.6, end=now)], parent=root.carrier)
    root.end(at=now)
    return root.carrier


async def test_all_there_is_reaches_the_collector_before_the_program_ends() -> None:
    async with otlp_sink() as sink:
        async with opened(TelemetrySettings(endpoint=sink.url)) as telemetry:
            trace_id = trace_id_of(write_turn(telemetry))
            telemetry.instruments.record(TIME_TO_FIRST_AUDIO, 0.1, {"target": "device"})
        came, kept = sink.spans, telemetry.book.trace(trace_id)
        assert {span.span_id: span for span in came} == {span.span_id: span for span in kept}
        assert TIME_TO_FIRST_AUDIO.name in sink.metric_names
        assert {head["content-encoding"] for head in sink.headers} == {"gzip"}
        assert telemetry.statistics() == TelemetryStatistics(exported=3)


async def test_spans_say_which_program_wrote_them_and_nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=edge-0,service.name=other")
    monkeypatch.setenv("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "host,process,os")
    async with otlp_sink() as sink:
        settings = TelemetrySettings(endpoint=sink.url)
        async with opened(settings, instance={"voice.worker": "2"}) as telemetry:
            write_turn(telemetry)
        edge, caller = sorted(sink.resources, key=lambda resource: str(resource["service.name"]), reverse=True)
        assert edge.keys() == {
            "service.name",
            "service.namespace",
            "service.version",
            "service.instance.id",
            "telemetry.sdk.language",
            "telemetry.sdk.name",
            "telemetry.sdk.version",
            "k8s.pod.name",
            "voice.worker",
        }
        assert (edge["service.name"], edge["service.namespace"]) == (names.EDGE, names.NAMESPACE)
        assert caller == {**edge, "service.name": names.CALLER}
        assert socket.gethostname() not in sink.text
        assert getpass.getuser() not in sink.text
        assert str(Path(__file__).parent) not in sink.text


async def test_a_trace_that_its_caller_would_not_keep_is_written_all_the_same() -> None:
    async with open_telemetry(TelemetrySettings(), service=names.EDGE) as telemetry:
        carrier = write_turn(telemetry, UNSAMPLED)
        assert len(telemetry.book.trace(trace_id_of(UNSAMPLED))) == 3
        assert int(carrier["traceparent"].split("-")[3], 16) & 1, "whoever comes next is to write its part too"
        assert carrier["tracestate"] == "vendor=7"


async def test_nothing_is_registered_for_the_whole_process() -> None:
    before = trace.get_tracer_provider(), metrics.get_meter_provider()
    async with open_telemetry(TelemetrySettings(), service=names.EDGE) as telemetry:
        write_turn(telemetry)
        assert (trace.get_tracer_provider(), metrics.get_meter_provider()) == before
        assert trace.get_current_span() is trace.INVALID_SPAN


async def test_a_collector_that_wants_nothing_is_mentioned_once(caplog: pytest.LogCaptureFixture) -> None:
    async with otlp_sink("refuse") as sink:
        with caplog.at_level(logging.INFO):
            async with opened(TelemetrySettings(endpoint=sink.url)) as telemetry:
                write_turn(telemetry)
                await sink.until_requests(1)
                write_turn(telemetry)
        assert telemetry.statistics() == TelemetryStatistics(dropped_failed=6)
        lost = (await asyncio.to_thread(telemetry.exposition.scrape)).text
        assert 'voice_telemetry_dropped_spans_total{why="failed"} 6.0' in lost
    [complaint] = [record.getMessage() for record in caplog.records if record.name == batches.__name__]
    assert complaint.startswith(f"The collector at {sink.url}/v1/traces takes no spans")
    assert "400" in complaint


@asynccontextmanager
async def stalling() -> AsyncIterator[str]:
    async with otlp_sink("stall") as sink:
        yield sink.url


@asynccontextmanager
async def out_of_reach(place: Callable[[], AbstractContextManager[str]]) -> AsyncIterator[str]:
    with place() as url:
        yield url


@pytest.mark.parametrize(
    "collector",
    [stalling, lambda: out_of_reach(black_hole), lambda: out_of_reach(nobody_listens)],
    ids=["stalling", "black hole", "nobody"],
)
async def test_a_program_ends_whatever_its_collector_does(
    collector: Callable[[], AbstractAsyncContextManager[str]], tmp_path: Path
) -> None:
    path = tmp_path / "traces.jsonl"
    async with collector() as url:
        settings = TelemetrySettings(endpoint=url, file=str(path))
        async with (
            asyncio.timeout(LEFT_SEC),
            open_telemetry(settings, service=names.EDGE, leaving_sec=1.0) as telemetry,
        ):
            write_turn(telemetry)
        assert telemetry.statistics().exported == 3, "to the file, which does not wait for the collector"
        assert (await asyncio.to_thread(path.read_text)).count("traceId") == 3


async def test_a_file_that_cannot_be_written_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"telemetry\.file"):
        async with open_telemetry(TelemetrySettings(file=str(tmp_path)), service=names.EDGE):
            pass


def test_silence_is_complete() -> None:
    telemetry = Telemetry.silent()
    root = telemetry.spans(names.EDGE).begin(names.TURN, at=0.0, parent=UNSAMPLED)
    root.end(at=1.0)
    assert root.carrier == UNSAMPLED, "a caller's own trace passes through"
    assert telemetry.book.trace(trace_id_of(UNSAMPLED)) == ()
    telemetry.close()
