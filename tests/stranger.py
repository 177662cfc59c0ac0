"""A user without rights, for tests of what a user may not do: the tests' own may be root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65_534


@contextmanager
def closed_to_us(folder: Path) -> Iterator[None]:
    """In the block this process may not look into the folder."""
    mode, is_root = folder.stat().st_mode, os.geteuid() == 0
    folder.chmod(0)
    if is_root:
        os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        if is_root:
            os.setresuid(0, 0, 0)
        folder.chmod(mode)
