"""Collectors that take an empty export, refuse it, do not answer, or are not there; files that cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.doctor.collector import look_at_collector, look_at_files
from routing.telemetry.settings import TelemetrySettings
from tests.otlp_sink import black_hole, otlp_sink
from tests.stranger import closed_to_us


async def test_a_collector_that_takes_nothing_takes_something() -> None:
    async with otlp_sink() as sink:
        traces, metrics = await look_at_collector(TelemetrySettings(endpoint=sink.url))
    assert (traces.verdict, metrics.verdict) == ("ok", "ok")
    assert (traces.found, metrics.found) == (f"{sink.url}/v1/traces takes them", f"{sink.url}/v1/metrics takes them")
    assert sink.requests == 2
    assert sink.spans == []


async def test_one_that_refuses_is_a_fault_for_each() -> None:
    async with otlp_sink("refuse") as sink:
        traces, metrics = await look_at_collector(TelemetrySettings(endpoint=sink.url))
    assert (traces.verdict, metrics.verdict) == ("fault", "fault")
    assert "400" in traces.found
    assert "4318" in traces.advice


@pytest.mark.slow
async def test_a_black_hole_is_given_up() -> None:
    with black_hole() as url:
        traces, metrics = await look_at_collector(TelemetrySettings(endpoint=url))
    assert (traces.verdict, metrics.verdict) == ("fault", "fault")


@pytest.mark.parametrize("settings", [TelemetrySettings(), TelemetrySettings(enabled=False)])
async def test_without_one_there_is_nothing_to_look_at(settings: TelemetrySettings) -> None:
    [found] = await look_at_collector(settings)
    assert found.verdict == "skipped"


def test_files_that_can_be_written_are_not_written(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "traces.jsonl"
    traces, records = look_at_files(TelemetrySettings(file=str(file)), records=str(tmp_path / "records.jsonl"))
    assert (traces.verdict, records.verdict) == ("ok", "ok")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_and_a_file_in_the_place_of_a_folder_are_faults(tmp_path: Path) -> None:
    [found] = look_at_files(TelemetrySettings(file=str(tmp_path)), records="")
    assert (found.verdict, "a folder" in found.found) == ("fault", True)


def test_a_folder_that_is_closed_to_us_is_a_fault(tmp_path: Path) -> None:
    with closed_to_us(tmp_path):
        [found] = look_at_files(TelemetrySettings(file=str(tmp_path / "traces.jsonl")), records="")
    assert (found.verdict, "not writable" in found.found) == ("fault", True)


def test_a_disk_without_room_is_warned_of(tmp_path: Path) -> None:
    settings = TelemetrySettings(file=str(tmp_path / "traces.jsonl"), file_mebibytes=65_536)
    [found] = look_at_files(settings, records="")
    assert found.verdict in {"ok", "warning"}  # some disks have that much


def test_nothing_that_is_written_needs_no_file() -> None:
    assert look_at_files(TelemetrySettings(enabled=False, file="traces.jsonl"), records="") == []
