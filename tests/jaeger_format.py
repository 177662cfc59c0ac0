"""What Jaeger's page takes as an upload, checked more strictly than the page does.

The shape is that of its ``types/trace`` and of the query API that it was made for; the rules are those by which its
transformation of a trace finds parents, links and processes.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

TraceId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
SpanId = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
Microseconds = Annotated[int, Field(ge=0, le=2**53 - 1)]
TYPES = {"string": str, "bool": bool, "int64": int, "float64": float, "binary": str}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Tag(Strict):
    key: str
    type: Literal["string", "bool", "int64", "float64", "binary"]
    value: str | bool | int | float


class Log(Strict):
    timestamp: Microseconds
    fields: list[Tag]


class Reference(Strict):
    refType: Literal["CHILD_OF", "FOLLOWS_FROM"]  # noqa: N815 Jaeger's words
    traceID: TraceId  # noqa: N815
    spanID: SpanId  # noqa: N815


class Process(Strict):
    serviceName: Annotated[str, Field(min_length=1)]  # noqa: N815
    tags: list[Tag]


class Span(Strict):
    traceID: TraceId  # noqa: N815
    spanID: SpanId  # noqa: N815
    operationName: str  # noqa: N815
    references: list[Reference]
    startTime: Annotated[int, Field(gt=0, le=2**53 - 1)]  # noqa: N815 0 counts as none
    duration: Microseconds
    tags: list[Tag]
    logs: list[Log]
    processID: str  # noqa: N815
    warnings: list[str] | None


class Trace(Strict):
    traceID: TraceId  # noqa: N815
    spans: Annotated[list[Span], Field(min_length=1)]
    processes: dict[str, Process]
    warnings: list[str] | None


class Document(Strict):
    data: list[Trace]
    total: int
    limit: int
    offset: int
    errors: None


def checked(text: str) -> Document:
    """The document, which is sound.

    Raises:
        ValidationError: it has another shape.
        AssertionError: its parts do not fit together.
    """
    document = Document.model_validate_json(text)
    assert list(_faults(document)) == []
    return document


def _faults(document: Document) -> Iterator[str]:
    traces = {trace.traceID: {span.spanID for span in trace.spans} for trace in document.data}
    if len(traces) < len(document.data):
        yield "a trace is there twice"
    for trace in document.data:
        if len(traces[trace.traceID]) < len(trace.spans):
            yield f"{trace.traceID}: a span is there twice"
        if {span.processID for span in trace.spans} != trace.processes.keys():
            yield f"{trace.traceID}: processes and those of the spans differ"
        for span in trace.spans:
            yield from (f"{span.spanID}: {fault}" for fault in _faults_of_span(span, trace, traces))
        yield from (fault for process in trace.processes.values() for fault in _faults_of_tags(process.tags))


def _faults_of_span(span: Span, trace: Trace, traces: Mapping[str, set[str]]) -> Iterator[str]:
    if span.traceID != trace.traceID:
        yield "belongs to another trace"
    parents = [place for place, reference in enumerate(span.references) if reference.refType == "CHILD_OF"]
    if parents not in ([], [0]):
        yield "the parent is not the first reference"
    for reference in span.references:
        if reference.refType == "CHILD_OF" and reference.traceID != trace.traceID:
            yield "the parent is in another trace"
        if reference.spanID not in traces.get(reference.traceID, ()):
            yield f"nothing to be found under {reference}"
    yield from _faults_of_tags([*span.tags, *(tag for log in span.logs for tag in log.fields)])


def _faults_of_tags(tags: list[Tag]) -> Iterator[str]:
    for tag in tags:
        if type(tag.value) is not TYPES[tag.type]:
            yield f"tag {tag.key}: {tag.type} is {tag.value!r}"
        if tag.type == "int64" and abs(int(tag.value)) >= 2**53:
            yield f"tag {tag.key}: more than a page can count to"
        if tag.type == "binary":
            base64.b64decode(str(tag.value), validate=True)
