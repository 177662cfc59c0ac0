"""Spans and metrics on their way to a collector: OTLP over HTTP, as protobuf, compressed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from routing.telemetry.batches import NotTaken

TIMEOUT_SEC = 2.0  # for one export with all its attempts
REASON_CHARACTERS = 300

_TRACE_LOGGER = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
_METRIC_LOGGER = logging.getLogger("opentelemetry.exporter.otlp.proto.http.metric_exporter")


class Collector:
    """Where spans are posted to, as an `Outlet`. Keys are read from OTEL_EXPORTER_OTLP_HEADERS by the SDK.

    The SDK writes a log line for each attempt at each batch. Here it is kept as the reason of the batch's failure.
    """

    def __init__(self, address: str, *, timeout_sec: float = TIMEOUT_SEC) -> None:
        self.name = f"The collector at {address}"
        _TRACE_LOGGER.addFilter(_COMPLAINTS)
        self._exporter = OTLPSpanExporter(address, timeout=timeout_sec, compression=Compression.Gzip)

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        _COMPLAINTS.first = ""
        if self._exporter.export(spans) is not SpanExportResult.SUCCESS:
            raise NotTaken(_COMPLAINTS.first or "it gave no reason")

    def close(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


def metric_exporter(address: str) -> MetricExporter:
    """Posts metrics to ``address``. Nothing is said where it fails: they go to the same collector as spans do."""
    _METRIC_LOGGER.addFilter(_COMPLAINTS)
    return OTLPMetricExporter(address, timeout=TIMEOUT_SEC, compression=Compression.Gzip)


class _Complaints(threading.local):
    """A filter of loggers that lets nothing pass, and keeps the first that each thread wanted to say."""

    first = ""

    def filter(self, record: logging.LogRecord) -> bool:
        self.first = self.first or record.getMessage()[:REASON_CHARACTERS]
        return False


_COMPLAINTS = _Complaints()
