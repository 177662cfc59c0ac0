"""A collector for tests: takes OTLP over HTTP in this process, or behaves as badly as collectors can."""

from __future__ import annotations

import asyncio
import gzip
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from routing.telemetry.finished_span import FinishedSpan

type Manner = Literal["accept", "refuse", "stall"]  # refuse: answer 400; stall: take it and never answer


class OtlpSink:
    """What came in, in the order in which it came.

    Attributes:
        url: what `TelemetrySettings.endpoint` is to be
        manner: may be changed at any time, for the requests that follow
        headers: of each request, with lower-case names
        traces, metrics: the messages as they came
    """

    def __init__(self, url: str, manner: Manner) -> None:
        self.url = url
        self.manner = manner
        self.headers: list[dict[str, str]] = []
        self.traces: list[ExportTraceServiceRequest] = []
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.requests = 0
        self._news = asyncio.Condition()

    @property
    def spans(self) -> list[FinishedSpan]:
        return [
            _finished(span, str(_attributes(each.resource.attributes).get("service.name", "")))
            for message in self.traces
            for each in message.resource_spans
            for scope in each.scope_spans
            for span in scope.spans
        ]

    @property
    def resources(self) -> list[dict[str, object]]:
        """The attributes of each resource that spans came from, once."""
        found = [_attributes(each.resource.attributes) for message in self.traces for each in message.resource_spans]
        return [resource for index, resource in enumerate(found) if resource not in found[:index]]

    @property
    def metric_names(self) -> set[str]:
        return {
            metric.name
            for message in self.metrics
            for resource in message.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def text(self) -> str:
        """Everything that ever came, to be searched for what must not be in it."""
        return "\n".join(str(message) for message in (*self.traces, *self.metrics))

    async def until_spans(self, count: int) -> list[FinishedSpan]:
        async with self._news:
            await self._news.wait_for(lambda: len(self.spans) >= count)
        return self.spans

    async def until_requests(self, count: int) -> None:
        async with self._news:
            await self._news.wait_for(lambda: self.requests >= count)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            while head := await _head(reader):
                await self._answer(head, await _body(reader, head), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # whoever exported has gone
        finally:
            writer.close()

    async def _answer(self, head: dict[str, str], body: bytes, writer: StreamWriter) -> None:
        async with self._news:
            self.requests += 1
            self.headers.append(head)
            if self.manner == "accept":
                self._take(head[":path"], body)
            self._news.notify_all()
        if self.manner == "stall":
            await asyncio.Event().wait()
        status = "200 OK" if self.manner == "accept" else "400 Bad Request"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    def _take(self, path: str, body: bytes) -> None:
        match path:
            case "/v1/traces":
                self.traces.append(ExportTraceServiceRequest.FromString(body))
            case "/v1/metrics":
                self.metrics.append(ExportMetricsServiceRequest.FromString(body))
            case _:
                raise AssertionError(f"expected /v1/traces or /v1/metrics, got {path}")


@asynccontextmanager
async def otlp_sink(manner: Manner = "accept") -> AsyncIterator[OtlpSink]:
    """Listens on a port of its own until it is left."""
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.create_task(sink.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    sink = OtlpSink(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", manner)
    try:
        yield sink
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


@contextmanager
def nobody_listens() -> Iterator[str]:
    """An address where every connection is refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def black_hole() -> Iterator[str]:
    """An address where packets vanish: nobody ever accepts, and the queue of connections is full."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        address = hole.getsockname()
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(address)
        try:
            yield f"http://127.0.0.1:{address[1]}"
        finally:
            for one in crowd:
                one.close()


async def _head(reader: StreamReader) -> dict[str, str]:
    """The request's headers, and its path as ":path"; empty where the connection has ended."""
    request = (await reader.readline()).decode().split()
    if not request:
        return {}
    head = {":path": request[1]}
    while line := (await reader.readline()).decode().strip():
        name, _, value = line.partition(":")
        head[name.lower()] = value.strip()
    return head


async def _body(reader: StreamReader, head: dict[str, str]) -> bytes:
    if head.get("transfer-encoding") == "chunked":
        body = b"".join([chunk async for chunk in _chunks(reader)])
    else:
        body = await reader.readexactly(int(head["content-length"]))
    return gzip.decompress(body) if head.get("content-encoding") == "gzip" else body


async def _chunks(reader: StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readline()).split(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readline()
    await reader.readline()


def _finished(span: Span, service: str) -> FinishedSpan:
    return FinishedSpan(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        service=service,
        begin_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        error=(span.status.message or "failed") if span.status.code == Status.STATUS_CODE_ERROR else "",
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, object]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case "array_value":
            return tuple(_value(each) for each in value.array_value.values)
        case str(kind):
            return getattr(value, kind)
        case None:
            return None
