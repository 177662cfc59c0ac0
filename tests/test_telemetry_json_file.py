"""Spans as lines of OTLP-JSON: whole lines, in a file that does not grow without end."""

from __future__ import annotations

import json
import os
import resource
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from routing.errors import SettingsError
from routing.telemetry.batches import NotTaken
from routing.telemetry.json_file import JsonFile
from routing.telemetry.phase import Phase
from routing.telemetry.spans import Clock, Spans

MEBIBYTE = 1024 * 1024


def finished(name: str, *, padding: str = "") -> Sequence[ReadableSpan]:
    """A turn with one phase."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    spans = Spans(provider.get_tracer("test"), Clock(now=0.0, epoch_ns=1_700_000_000_000_000_000))
    root = spans.begin(name, at=0.0, attributes={"padding": padding})
    spans.write([Phase(name="playout", begin=0.0, end=0.5, error="cut")], parent=root.carrier)
    root.end(at=1.0)
    return kept.get_finished_spans()


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def names(path: Path) -> list[str]:
    """Of the turns in it."""
    return [line["resourceSpans"][0]["scopeSpans"][0]["spans"][1]["name"] for line in lines(path)]


def test_a_batch_is_a_line_as_jaeger_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "traces.jsonl"
    file = JsonFile(path, mebibytes=1)
    file.send(finished("voice.turn"))
    file.send(finished("voice.turn"))
    assert path.stat().st_mode & 0o777 == 0o600
    first, _ = lines(path)
    playout, turn = first["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert turn["startTimeUnixNano"] == "1700000000000000000"
    assert turn["endTimeUnixNano"] == "1700000000999998000"
    assert len(bytes.fromhex(turn["traceId"])) == 16
    assert (playout["traceId"], playout["parentSpanId"]) == (turn["traceId"], turn["spanId"])
    assert playout["status"] == {"message": "cut", "code": 2}


def test_a_full_file_makes_place_for_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    file = JsonFile(path, mebibytes=1)
    for name in ("first", "second", "third", "fourth", "fifth"):
        file.send(finished(name, padding="x" * (MEBIBYTE * 2 // 5)))
    assert names(path) == ["fifth"]
    assert names(tmp_path / "traces.jsonl.1") == ["third", "fourth"]


def test_a_link_to_another_disk_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "traces.jsonl"
    link.symlink_to(tmp_path / "disk" / "spans.jsonl")
    file = JsonFile(link, mebibytes=1)
    for name in ("first", "second", "third"):
        file.send(finished(name, padding="x" * (MEBIBYTE * 2 // 5)))
    assert link.is_symlink()
    assert names(link) == ["third"]
    assert names(tmp_path / "disk" / "spans.jsonl.1") == ["first", "second"]


def test_what_is_larger_than_a_file_may_be_is_written_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    JsonFile(path, mebibytes=1).send(finished("whole", padding="x" * MEBIBYTE))
    assert names(path) == ["whole"]


def test_several_write_to_one_file_and_none_loses_a_line(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    batch = finished("voice.turn", padding="x" * (MEBIBYTE // 40))

    def write() -> None:
        file = JsonFile(path, mebibytes=1)
        for _ in range(12):
            file.send(batch)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(path)) + len(lines(tmp_path / "traces.jsonl.1")) == 48


def test_a_disk_that_fills_up_leaves_no_half_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    file = JsonFile(path, mebibytes=1)
    file.send(finished("before"))
    with files_no_larger_than(path.stat().st_size + 10), pytest.raises(NotTaken, match="only 10 of"):
        file.send(finished("lost"))
    file.send(finished("after"))
    assert names(path) == ["before", "after"]


def test_a_full_disk_and_a_folder_that_has_gone_take_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotTaken, match="No space left"):
        JsonFile(Path("/dev/full"), mebibytes=1).send(finished("lost"))
    file = JsonFile(tmp_path / "folder" / "traces.jsonl", mebibytes=1)
    (tmp_path / "folder" / "traces.jsonl").unlink()
    (tmp_path / "folder").rmdir()
    with pytest.raises(NotTaken, match="No such file"):
        file.send(finished("lost"))


def test_where_nothing_can_be_written_it_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"telemetry\.file: expected a file that can be written, got .*directory"):
        JsonFile(tmp_path, mebibytes=1)
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"telemetry\.file"):
        JsonFile(tmp_path / "file" / "traces.jsonl", mebibytes=1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match=r"telemetry\.file"):
        JsonFile(tmp_path / "pipe", mebibytes=1)


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
