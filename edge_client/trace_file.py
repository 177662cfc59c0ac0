"""Where an edge keeps the traces of its turns when nobody says otherwise, and `antiphon trace` looks for them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from routing.telemetry.settings import TelemetrySettings

logger = logging.getLogger(__name__)

NAME = "traces.jsonl"


def default_file(environment: Mapping[str, str]) -> Path:
    """In the folder where this platform keeps what programs note of their own running."""
    return _state_folder(environment) / "antiphon" / NAME


def _state_folder(environment: Mapping[str, str]) -> Path:
    if sys.platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")


def kept(settings: TelemetrySettings, environment: Mapping[str, str]) -> TelemetrySettings:
    """The settings with the file that is theirs by default; where that cannot be written, traces are not kept."""
    if settings.file is not None:
        return settings
    try:
        file = str(_writable(default_file(environment)))
    except (OSError, RuntimeError) as error:  # RuntimeError: whoever runs this has no home
        logger.warning("traces are not kept: %s", error)
        file = ""
    return settings.model_copy(update={"file": file})


def _writable(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab"):
        return file
