"""Traces as Jaeger's own user interface has them in JSON: its Upload opens them without any server.

The shape is that of Jaeger's query API (``internal/uimodel`` there, ``types/trace`` in its interface): times in whole
microseconds, the parent as the first reference, links after it, a table of processes for each trace.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from edge_client.trace.recorded_span import Event, RecordedSpan
from edge_client.trace.tree import Tree

type Json = dict[str, Any]

# What JavaScript can count to. Jaeger writes greater numbers as text.
_SAFE_INTEGER: Final = 2**53 - 1


def document_of(traces: Iterable[Tree]) -> Iterator[str]:
    """The whole document, a piece for each trace: no more than one of them is held."""
    yield '{"data":['
    for number, tree in enumerate(traces):
        yield (",\n" if number else "\n") + json.dumps(trace_of(tree), separators=(",", ":"), allow_nan=False)
    yield '\n],"total":0,"limit":0,"offset":0,"errors":null}\n'


def trace_of(tree: Tree) -> Json:
    """One trace. Its spans are in the order of the tree."""
    processes: dict[str, str] = {}
    spans = [_span(branch.span, tree, processes) for branch in tree.walk(tree.roots)]
    return {
        "traceID": spans[0]["traceID"],
        "spans": spans,
        "processes": {name: json.loads(process) for process, name in processes.items()},
        "warnings": None,
    }


def _span(span: RecordedSpan, tree: Tree, processes: dict[str, str]) -> Json:
    process = json.dumps(_process(span), sort_keys=True)
    return {
        "traceID": span.trace_id,
        "spanID": span.span_id,
        "operationName": span.name,
        "references": _references(span, tree),
        "startTime": span.begin_ns // 1000,
        "duration": max(0, span.end_ns // 1000 - span.begin_ns // 1000),
        "tags": _tags({**span.attributes, **_facts(span)}),
        "logs": [_log(event) for event in span.events],
        "processID": processes.setdefault(process, f"p{len(processes) + 1}"),
        "warnings": list(_warnings(span, tree)) or None,
    }


def _process(span: RecordedSpan) -> Json:
    return {"serviceName": span.service, "tags": _tags(span.resource)}


def _references(span: RecordedSpan, tree: Tree) -> list[Json]:
    """The parent first: of several references the interface takes the first one that it finds."""
    parent = tree.get(span.parent_id)
    references = [_reference("CHILD_OF", span.trace_id, parent.span_id)] if parent else []
    return references + [_reference("FOLLOWS_FROM", trace_id, span_id) for trace_id, span_id in span.links]


def _reference(kind: str, trace_id: str, span_id: str) -> Json:
    return {"refType": kind, "traceID": trace_id, "spanID": span_id}


def _facts(span: RecordedSpan) -> Mapping[str, object]:
    """What OpenTelemetry has fields for and Jaeger has tags for."""
    facts: dict[str, object] = {"span.kind": span.kind}
    if span.scope:
        facts["otel.scope.name"] = span.scope
    if span.state:
        facts["w3c.tracestate"] = span.state
    if span.failed:
        facts |= {"error": True, "otel.status_code": "ERROR"}
    if span.error:
        facts["otel.status_description"] = span.error
    return facts


def _log(event: Event) -> Json:
    return {"timestamp": event.at_ns // 1000, "fields": _tags({"event": event.name, **event.attributes})}


def _warnings(span: RecordedSpan, tree: Tree) -> Iterator[str]:
    if span.parent_id and tree.get(span.parent_id) is None:
        yield f"the parent {span.parent_id} is in none of the files"
    if span.end_ns < span.begin_ns:
        yield f"ended {(span.begin_ns - span.end_ns) / 1e6:.3f} ms before it began"


# -- tags --------------------------------------------------------------------------------------------------------------


def _tags(attributes: Mapping[str, object]) -> list[Json]:
    return [_tag(key, value) for key, value in attributes.items() if value is not None]


def _tag(key: str, value: object) -> Json:
    match value:
        case bool():
            return {"key": key, "type": "bool", "value": value}
        case int() if abs(value) <= _SAFE_INTEGER:
            return {"key": key, "type": "int64", "value": value}
        case float() if math.isfinite(value):
            return {"key": key, "type": "float64", "value": value}
        case bytes():
            return {"key": key, "type": "binary", "value": base64.b64encode(value).decode()}
        case tuple() | dict():
            return {"key": key, "type": "string", "value": json.dumps(value, default=str)}
        case _:
            return {"key": key, "type": "string", "value": str(value)}
