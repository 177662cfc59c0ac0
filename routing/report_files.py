"""Reports as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from routing.errors import SettingsError


def write_reports(reports: Mapping[Path | None, Callable[[], str]]) -> None:
    """Each into its file, whatever becomes of the others. What has no file is not even made.

    Raises:
        SettingsError: some could not be written; the message says which, and why.
    """
    faults = []
    for file, report in reports.items():
        if file is None:
            continue
        try:
            file.write_text(report(), encoding="utf-8")
        except OSError as fault:
            faults.append(f"{file}: {fault.strerror or fault}")
    if faults:
        raise SettingsError(f"cannot write {'; '.join(faults)}")
