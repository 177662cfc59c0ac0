"""Spans and metrics on their way to a collector: OTLP over HTTP, as protobuf, compressed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from requests import Response, Session, TooManyRedirects

from routing.telemetry.batches import NotTaken

TIMEOUT_SEC = 2.0  # for one export with all its attempts
REASON_CHARACTERS = 300
ANSWER_BYTES = 64 * 1024  # the specification's own answers take some hundred

_TRACE_LOGGER = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
_METRIC_LOGGER = logging.getLogger("opentelemetry.exporter.otlp.proto.http.metric_exporter")


class Collector:
    """Where spans are posted to, as an `Outlet`. Keys are read from OTEL_EXPORTER_OTLP_HEADERS by the SDK.

    The SDK writes a log line for each attempt at each batch. Here it is kept as the reason of the batch's failure.
    """

    def __init__(self, address: str, *, timeout_sec: float = TIMEOUT_SEC) -> None:
        self.name = f"The collector at {address}"
        _TRACE_LOGGER.addFilter(_COMPLAINTS)
        self._exporter = OTLPSpanExporter(
            address, timeout=timeout_sec, compression=Compression.Gzip, session=_BriefSession()
        )

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        _COMPLAINTS.first = ""
        if self._exporter.export(spans) is not SpanExportResult.SUCCESS:
            raise NotTaken(_COMPLAINTS.first or "it gave no reason")

    def close(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


def metric_exporter(address: str) -> MetricExporter:
    """Posts metrics to ``address``. Nothing is said where it fails: they go to the same collector as spans do."""
    _METRIC_LOGGER.addFilter(_COMPLAINTS)
    return OTLPMetricExporter(address, timeout=TIMEOUT_SEC, compression=Compression.Gzip, session=_BriefSession())


class _BriefSession(Session):
    """Reads an answer only as far, and as long, as a collector's takes; what is beyond ends the connection.

    An answer that leads elsewhere is an error: the SDK does not follow it, and would take it for a yes.
    """

    def request(self, *arguments: Any, **options: Any) -> Response:
        response = super().request(*arguments, **options | {"stream": True})
        with response:
            _read_some(response, until=time.monotonic() + TIMEOUT_SEC)
        if response.is_redirect:
            raise TooManyRedirects(f"expected one that takes them itself, got {response.status_code} to another place")
        return response


def _read_some(response: Response, *, until: float) -> None:
    """One that is read to its end leaves the connection for the next."""
    left = ANSWER_BYTES
    while left > 0 and time.monotonic() < until and (piece := response.raw.read1(left)):
        left -= len(piece)


class _Complaints(threading.local):
    """A filter of loggers that lets nothing pass, and keeps the first that each thread wanted to say."""

    first = ""

    def filter(self, record: logging.LogRecord) -> bool:
        self.first = self.first or record.getMessage()[:REASON_CHARACTERS]
        return False


_COMPLAINTS = _Complaints()
