"""Runs the programs in tests/javascript."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

JAVASCRIPT = Path(__file__).parent / "javascript"


async def run_node(program: str, given: Any) -> Any:
    """Hands ``given`` to the program as JSON on standard input and returns what it prints, which is JSON too."""
    process = await asyncio.create_subprocess_exec(
        "node", program, cwd=JAVASCRIPT, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        printed, complaints = await process.communicate(json.dumps(given).encode())
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, complaints.decode()
    return json.loads(printed)
