"""Telemetry of one of the cloud's processes: each has its own, opened where it runs."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from ray import serve

from routing.telemetry.logs import log_to_stderr
from routing.telemetry.program import Telemetry, open_telemetry
from routing.telemetry.settings import TelemetrySettings

POD_VARIABLES = ("POD_NAME", "RAY_CLOUD_INSTANCE_ID")  # an operator's own, and what KubeRay tells every container


@asynccontextmanager
async def process_telemetry(settings: TelemetrySettings, *, service: str) -> AsyncIterator[Telemetry]:
    """Telemetry of this replica of a deployment, by Ray's name of it; silent where nothing is to leave the process.

    From here on its log lines say which turn they are about, as JSON where ``ANTIPHON_LOG_FORMAT`` asks for that.

    A process that is killed loses what it wrote in its last 0.3 s.

    Raises:
        SettingsError: the file cannot be written.
    """
    log_to_stderr(logging.WARNING, "json" if os.environ.get("ANTIPHON_LOG_FORMAT") == "json" else "text")
    if not settings.file and not settings.endpoint:
        yield Telemetry.silent()
        return
    async with open_telemetry(settings, service=service, instance=_identity()) as telemetry:
        yield telemetry


def _identity() -> Mapping[str, str]:
    found = {"service.instance.id": serve.get_replica_context().replica_id.unique_id}
    if pod := next((os.environ[name] for name in POD_VARIABLES if os.environ.get(name)), ""):
        found["k8s.pod.name"] = pod
    return found
