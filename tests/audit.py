"""The tools of `make audit`: where they are, and what to say where they are not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

OLDEST_KUBECTL = 27
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


def kubectl() -> str:
    """A kubectl that renders what is written here. No package of Debian 12 brings one: there the test is skipped."""
    found = shutil.which("kubectl")
    if found is None or _minor_version(found) < OLDEST_KUBECTL:
        pytest.skip(f"no kubectl of at least 1.{OLDEST_KUBECTL}: NOT RENDERED")
    return found


def _minor_version(program: str) -> int:
    said = subprocess.run([program, "version", "--client"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"v1\.(\d+)\.", said)
    return int(version[1]) if version else 0


def missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
