"""Jaeger's own JSON, by a strict reading of what its page takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_client.trace.archive import open_archive
from edge_client.trace.jaeger import document_of, trace_of
from edge_client.trace.recorded_span import Event, RecordedSpan
from edge_client.trace.tree import Tree
from routing.telemetry import names
from tests.jaeger_format import Document, Trace, checked
from tests.trace_files import write_turns


def exported(folder: Path) -> Document:
    with open_archive([folder]) as archive:
        return checked("".join(document_of(map(archive.trace, archive.trace_ids))))


def span(**more: Any) -> RecordedSpan:
    given: dict[str, Any] = {"parent_id": "", "name": "work", "begin_ns": 1_500_999, "end_ns": 2_500_000, **more}
    return RecordedSpan(trace_id="0a" * 16, span_id="0b" * 8, service="edge", **given)


def tags(trace: dict[str, Any]) -> dict[str, tuple[str, object]]:
    return {tag["key"]: (tag["type"], tag["value"]) for tag in trace["spans"][0]["tags"]}


def test_every_kind_of_turn_is_taken_with_its_batches(tmp_path: Path) -> None:
    document = exported(write_turns(tmp_path))
    assert len(document.data) == 6  # four turns, two batches
    services = [{process.serviceName for process in trace.processes.values()} for trace in document.data]
    assert {names.CALLER, names.EDGE, names.INGRESS, names.REPLICA} in services


def test_spans_keep_their_parents_times_and_links(tmp_path: Path) -> None:
    trace = next(trace for trace in exported(write_turns(tmp_path)).data if named(trace, names.QUEUE_WAIT))
    root, wait = named(trace, names.TURN), named(trace, names.QUEUE_WAIT)
    assert root[0].references == []
    assert [reference.refType for reference in wait[0].references] == ["CHILD_OF", "FOLLOWS_FROM"]
    assert wait[0].duration == 20_000 - 2
    assert trace.processes[wait[0].processID].serviceName == names.REPLICA


def named(trace: Trace, name: str) -> list[Any]:
    return [span for span in trace.spans if span.operationName == name]


def test_tags_are_typed_and_no_number_is_rounded() -> None:
    attributes = {
        "flag": True,
        "count": 2**53 - 1,
        "great": 2**60,
        "part": 0.5,
        "endless": float("inf"),
        "bytes": b"\x00",
        "list": ("a", 1),
        "nothing": None,
    }
    assert tags(trace_of(Tree([span(attributes=attributes)]))) == {
        "flag": ("bool", True),
        "count": ("int64", 2**53 - 1),
        "great": ("string", str(2**60)),
        "part": ("float64", 0.5),
        "endless": ("string", "inf"),
        "bytes": ("binary", "AA=="),
        "list": ("string", '["a", 1]'),
        "span.kind": ("string", "internal"),
    }


def test_failures_and_events_are_marked() -> None:
    trace = trace_of(Tree([span(failed=True, error="gone", kind="client", events=(Event("cut", 2_000_000),))]))
    found = tags(trace)
    assert found["error"] == ("bool", True)
    assert found["otel.status_description"] == ("string", "gone")
    assert found["span.kind"] == ("string", "client")
    fields = [{"key": "event", "type": "string", "value": "cut"}]
    assert trace["spans"][0]["logs"] == [{"timestamp": 2000, "fields": fields}]


def test_what_is_not_whole_is_warned_of() -> None:
    tree = Tree([span(parent_id="0c" * 8, end_ns=500_000)])
    (written,) = checked("".join(document_of([tree]))).data[0].spans
    assert written.references == []
    assert written.duration == 0
    assert written.warnings == [f"the parent {'0c' * 8} is in none of the files", "ended 1.001 ms before it began"]


def test_the_document_is_json_also_without_traces() -> None:
    assert json.loads("".join(document_of([])))["data"] == []
