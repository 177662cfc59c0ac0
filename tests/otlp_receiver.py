"""An OTLP receiver that others wrote, in Node.js: `@elastic/mockotlpserver`."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from routing.telemetry.finished_span import FinishedSpan
from tests.node import JAVASCRIPT

LONGEST_LINE = 2**24


class Understood(NamedTuple):
    """A span, and beside it what a `FinishedSpan` does not tell."""

    span: FinishedSpan
    kind: str
    resource: Mapping[str, object]
    scope: Mapping[str, object]


class OtlpReceiver:
    """What it understood of all that came.

    Attributes:
        url: what `TelemetrySettings.endpoint` is to be
        spans: in the order in which they came
        metric_names: of all metrics that came
    """

    def __init__(self, process: Process, url: str) -> None:
        self._process = process
        self.url = url
        self.spans: list[Understood] = []
        self.metric_names: set[str] = set()

    async def until_spans(self, count: int) -> list[Understood]:
        while len(self.spans) < count:
            await self._read()
        return self.spans

    async def until_metrics(self) -> set[str]:
        while not self.metric_names:
            await self._read()
        return self.metric_names

    async def _read(self) -> None:
        message = await _line(self._process)
        self.spans += _understood(message)
        self.metric_names |= _metric_names(message)


@asynccontextmanager
async def otlp_receiver() -> AsyncIterator[OtlpReceiver]:
    """Listens on a port of its own until it is left."""
    process = await asyncio.create_subprocess_exec(
        "node", "otlp_receiver.mjs", cwd=JAVASCRIPT, stdin=PIPE, stdout=PIPE, limit=LONGEST_LINE
    )
    try:
        yield OtlpReceiver(process, (await _line(process))["url"])
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def _line(process: Process) -> Any:
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line, "the receiver has ended"
    return json.loads(line)


def _understood(message: Any) -> list[Understood]:
    return [
        Understood(
            span=_finished(span, str(each["resource"]["attributes"].get("service.name", ""))),
            kind=span["kind"],
            resource=each["resource"]["attributes"],
            scope={name: scope["scope"][name] for name in ("name", "version")},
        )
        for each in message.get("traces", {}).get("resourceSpans", ())
        for scope in each["scopeSpans"]
        for span in scope["spans"]
    ]


def _metric_names(message: Any) -> set[str]:
    return {
        metric["name"]
        for resource in message.get("metrics", {}).get("resourceMetrics", ())
        for scope in resource["scopeMetrics"]
        for metric in scope["metrics"]
    }


def _finished(span: Any, service: str) -> FinishedSpan:
    status = span.get("status", {})
    return FinishedSpan(
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_id=span.get("parentSpanId", ""),
        name=span["name"],
        service=service,
        begin_ns=int(span["startTimeUnixNano"]),
        end_ns=int(span["endTimeUnixNano"]),
        attributes=span.get("attributes", {}),
        links=tuple((link["traceId"], link["spanId"]) for link in span.get("links", ())),
        error=status.get("message", "failed") if status.get("code") == "STATUS_CODE_ERROR" else "",
    )
