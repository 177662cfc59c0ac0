"""Where traces and metrics go: a collector that takes them, or a file that can be written."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from edge_client.doctor.aside import aside
from edge_client.doctor.finding import Finding, fault, ok, skipped, warning
from edge_client.doctor.places import nearest
from routing.telemetry.batches import NotTaken
from routing.telemetry.settings import TelemetrySettings

ABOUT = "collector"
MEGA = 1e6


async def look_at_collector(settings: TelemetrySettings) -> list[Finding]:
    """Export nothing to it, which costs it nothing, and see whether it takes that."""
    if not settings.enabled:
        return [skipped(ABOUT, "telemetry is switched off")]
    if not settings.endpoint:
        return [skipped(ABOUT, "none is set", advice="Traces stay in a file: antiphon trace show")]
    traces, metrics = settings.address("traces"), settings.address("metrics")
    refusals = await asyncio.gather(aside(lambda: _traces(traces)), aside(lambda: _metrics(metrics)))
    return [_judged("traces", traces, refusals[0]), _judged("metrics", metrics, refusals[1])]


def _traces(address: str) -> str | None:
    """Why it takes none; None where it does."""
    from routing.telemetry.collector import Collector  # takes a tenth of a second

    collector = Collector(address)
    try:
        collector.send([])
    except NotTaken as refusal:
        return str(refusal)
    finally:
        collector.close()
    return None


def _metrics(address: str) -> str | None:
    from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData

    from routing.telemetry.collector import metric_exporter

    exporter = metric_exporter(address)
    try:
        taken = exporter.export(MetricsData(resource_metrics=[])) is MetricExportResult.SUCCESS
    finally:
        exporter.shutdown()
    return None if taken else "it gave no reason"


def _judged(what: str, address: str, refusal: str | None) -> Finding:
    about = f"{ABOUT} of {what}"
    if refusal is None:
        return ok(about, f"{address} takes them")
    return fault(
        about,
        refusal,
        expected=f"{address} to take {what}",
        advice="See that it runs and takes OTLP over HTTP there (port 4318, not gRPC's 4317), and that its key is in"
        " OTEL_EXPORTER_OTLP_HEADERS.",
    )


# -- files -------------------------------------------------------------------------------------------------------------


def look_at_files(settings: TelemetrySettings, records: str) -> list[Finding]:
    """Whether what the edge writes down can be written. Reads the disk, and writes nothing."""
    found = []
    if settings.enabled and settings.file:
        spare = settings.file_mebibytes * 2 * (1 << 20)  # the file, and the one before it
        found.append(_writable("file of traces", Path(settings.file).expanduser(), spare))
    if records:
        found.append(_writable("file of placements", Path(records).expanduser(), 0))
    return found


def _writable(about: str, file: Path, spare: int) -> Finding:
    place = nearest(file)
    is_folder = place == file.absolute() and place.is_dir()
    if is_folder or not os.access(place, os.W_OK):
        return fault(
            about,
            f"{place} is {'a folder' if is_folder else 'not writable'}",
            expected=f"{file} to be writable",
            advice="Name another file, or give the edge's user the right to write it.",
        )
    free = shutil.disk_usage(place).free
    if free < spare:
        advice = "Make room, or lower telemetry.file_mebibytes."
        return warning(about, f"{free / MEGA:.0f} MB", expected=f"room for {spare / MEGA:.0f} MB", advice=advice)
    return ok(about, f"{file} can be written")
