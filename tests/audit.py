"""The tools of `make audit`: where they are, and what to say where they are not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

AUDIT = Path(__file__).parent.parent / ".venv" / "audit" / "bin"


def audit_tool(name: str) -> Path:
    """A program of the environment that `make audit` builds. Without it the test is skipped, and in CI it fails."""
    path = AUDIT / name
    if not path.exists():
        missing(f"no {name}; run: make audit")
    return path


def program(name: str) -> str:
    """A program of this machine, likewise."""
    found = shutil.which(name)
    if found is None:
        missing(f"no {name} on the PATH")
    return found


def missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
