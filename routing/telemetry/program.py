"""Telemetry of one program, from its start to its end."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, SynchronousMultiSpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.version import __version__ as sdk_version
from opentelemetry.trace import NoOpTracer, Tracer

from routing.telemetry import names
from routing.telemetry.batches import Batches, Outlet, TelemetryStatistics
from routing.telemetry.exposition import Exposition
from routing.telemetry.identifiers import SecretIds
from routing.telemetry.instruments import Instruments, Reading
from routing.telemetry.json_file import JsonFile
from routing.telemetry.metrics import DROPPED_SPANS
from routing.telemetry.settings import TelemetrySettings
from routing.telemetry.spans import Clock, Spans
from routing.telemetry.trace_book import TraceBook

LEAVING_SEC = 2.0  # what is left then is lost: a program ends when it is told to, whatever a collector does
METRICS_INTERVAL_SEC = 15.0
ATTRIBUTE_CHARACTERS = 4096  # of one value; there are longer ones only where contents are written
SCOPE = "antiphon"

type Tracers = Callable[[str], Tracer]
NOTHING: Mapping[str, str] = MappingProxyType({})


class Telemetry:
    """What a program writes its spans and counts its metrics with. Made by `open_telemetry`, which closes it too.

    Args:
        tracers: makes the one of a service
        batches: the ways out of the process
        meters: counts for ``instruments``, and is asked by ``exposition``
        content: also what was said and answered may be written
    """

    def __init__(
        self,
        *,
        clock: Clock,
        tracers: Tracers,
        book: TraceBook,
        batches: Sequence[Batches],
        meters: MeterProvider,
        instruments: Instruments,
        exposition: Exposition,
        content: bool,
    ) -> None:
        self.book = book
        self.instruments = instruments
        self.exposition = exposition
        self.content = content
        self._clock = clock
        self._tracers = tracers
        self._spans: dict[str, Spans] = {}
        self._batches = tuple(batches)
        self._meters = meters

    @classmethod
    def silent(cls) -> Telemetry:
        """Nothing at all is written, kept or counted."""
        exposition = Exposition()
        return cls(
            clock=Clock(now=0.0, epoch_ns=0),
            tracers=lambda service: NoOpTracer(),
            book=TraceBook(),
            batches=(),
            meters=MeterProvider([exposition.reader], Resource.get_empty(), shutdown_on_exit=False),
            instruments=Instruments.silent(),
            exposition=exposition,
            content=False,
        )

    @classmethod
    def within(
        cls,
        clock: Clock,
        *,
        service: str,
        instance: Mapping[str, str] = NOTHING,
        outlets: Sequence[Outlet] = (),
        readers: Sequence[MetricReader] = (),
        content: bool = False,
    ) -> Telemetry:
        """Everything is written, kept and counted; it leaves the process where there are ``outlets`` or ``readers``."""
        place = _Place(instance)
        exposition = Exposition()
        book = TraceBook()
        batches = [Batches(outlet) for outlet in outlets]
        meters = MeterProvider([exposition.reader, *readers], place.resource(service), shutdown_on_exit=False)
        telemetry = cls(
            clock=clock,
            tracers=_tracers(place, (book, *batches)),
            book=book,
            batches=batches,
            meters=meters,
            instruments=Instruments(meters.get_meter(SCOPE, place.version, names.SCHEMA_URL)),
            exposition=exposition,
            content=content,
        )
        telemetry.instruments.observe(DROPPED_SPANS, telemetry._dropped)
        return telemetry

    def spans(self, service: str) -> Spans:
        """Writes the spans of one part of this program. All parts share what leads out of it."""
        if service not in self._spans:
            self._spans[service] = Spans(self._tracers(service), self._clock)
        return self._spans[service]

    def statistics(self) -> TelemetryStatistics:
        return sum((batches.statistics() for batches in self._batches), TelemetryStatistics())

    def close(self, within_sec: float = LEAVING_SEC) -> None:
        """Let out what is still here, as far as that is possible in time. Not on the event loop.

        The SDK waits for a collector that does not answer longer than it was told to, so that is left to threads that
        do not keep a program from ending.
        """
        deadline = time.monotonic() + within_sec
        meters = threading.Thread(target=self._meters.shutdown, name="telemetry-metrics", daemon=True)
        meters.start()
        for batches in self._batches:
            batches.finish()
        for batches in self._batches:
            batches.join(deadline - time.monotonic())
        meters.join(max(0.0, deadline - time.monotonic()))

    def _dropped(self) -> Iterator[Reading]:
        statistics = self.statistics()
        yield Reading(statistics.dropped_full, {"why": "full"})
        yield Reading(statistics.dropped_failed, {"why": "failed"})


@asynccontextmanager
async def open_telemetry(
    settings: TelemetrySettings,
    *,
    service: str,
    instance: Mapping[str, str] = NOTHING,
    leaving_sec: float = LEAVING_SEC,
) -> AsyncIterator[Telemetry]:
    """Telemetry for as long as a program runs. Nothing is registered globally.

    Whatever a collector does, entering does not wait for it, and leaving waits for ``leaving_sec`` at most.

    Args:
        service: what the program is, one of `names`; its metrics carry it, and its spans unless they name another
        instance: attributes that tell this process from others of its kind

    Raises:
        SettingsError: the file cannot be written.
    """
    if not settings.enabled:
        yield Telemetry.silent()
        return
    clock = Clock.of_loop()
    telemetry = await asyncio.to_thread(_opened, settings, clock, service, instance)
    try:
        yield telemetry
    finally:
        await asyncio.to_thread(telemetry.close, leaving_sec)


def _opened(settings: TelemetrySettings, clock: Clock, service: str, instance: Mapping[str, str]) -> Telemetry:
    outlets: list[Outlet] = []
    readers: list[MetricReader] = []
    if settings.file:
        outlets.append(JsonFile(Path(settings.file).expanduser(), mebibytes=settings.file_mebibytes))
    if settings.endpoint:
        from routing.telemetry.collector import Collector, metric_exporter  # takes a tenth of a second

        outlets.append(Collector(settings.address("traces")))
        readers.append(
            PeriodicExportingMetricReader(metric_exporter(settings.address("metrics")), METRICS_INTERVAL_SEC * 1000)
        )
    return Telemetry.within(
        clock, service=service, instance=instance, outlets=outlets, readers=readers, content=settings.content
    )


class _Place:
    """Where spans and metrics come from: the program and its version, never the machine, its user or its address.

    The SDK's detectors are left out for that; what an operator wrote into OTEL_RESOURCE_ATTRIBUTES is taken.
    """

    def __init__(self, instance: Mapping[str, str]) -> None:
        self.version = _version()
        self._attributes = {
            "service.namespace": names.NAMESPACE,
            "service.version": self.version,
            "service.instance.id": str(uuid.uuid4()),
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": sdk_version,
            **instance,
        }

    def resource(self, service: str) -> Resource:
        ours = Resource({**self._attributes, "service.name": service}, names.SCHEMA_URL)
        return OTELResourceDetector().detect().merge(ours)


def _tracers(place: _Place, processors: Sequence[SpanProcessor]) -> Tracers:
    """Every span is written, whatever the flags of a stranger's carrier say: which traces are kept is for a collector.

    That one has seen how they ended.
    """
    shared = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]
    for processor in processors:
        shared.add_span_processor(processor)

    def tracer(service: str) -> Tracer:
        provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=place.resource(service),
            shutdown_on_exit=False,
            active_span_processor=shared,
            id_generator=SecretIds(),
            span_limits=SpanLimits(max_span_attribute_length=ATTRIBUTE_CHARACTERS),
        )
        return provider.get_tracer(SCOPE, place.version, names.SCHEMA_URL)

    return tracer


def _version() -> str:
    try:
        return version("antiphon")
    except PackageNotFoundError:  # the folder itself was sent to a cluster
        return "unknown"
