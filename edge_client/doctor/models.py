"""The models of the device: whether their files are there and sound, and whether they run here."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence

from edge_client.doctor.aside import aside
from edge_client.doctor.finding import Finding, fault, ok, skipped, warning
from edge_client.doctor.places import nearest
from edge_client.models.store import MEND, ModelStore

ABOUT = "models"
TRIAL = "models at work"
TRIAL_SEC = 60.0
HASHING_SEC = 60.0  # 190 MB from a slow disk
SPARE_BYTES = 200_000_000  # for traces and records beside the models
MEGA = 1e6
COMMAND = (sys.executable, "-m", "edge_client.doctor.model_trial")
LAST_LINES = 3  # of what a trial that failed has said


async def look_at_files(store: ModelStore) -> list[Finding]:
    """Whether every file is there and is what it should be, and whether the disk has room."""
    return await aside(lambda: [*_files(store), *_room(store)])


def _files(store: ModelStore) -> list[Finding]:
    missing, damaged = store.missing(), store.damaged()
    if not missing and not damaged:
        return [ok(ABOUT, f"{len(store.files)} files in {store.folder}, all as they should be")]
    named = ", ".join(file.name for file in (*missing, *damaged)[:LAST_LINES])
    return [
        fault(
            ABOUT,
            f"{len(missing)} missing and {len(damaged)} damaged in {store.folder} ({named} …)",
            expected=f"{len(store.files)} sound files",
            advice=f"Fetch them: {MEND}",
        )
    ]


def _room(store: ModelStore) -> list[Finding]:
    wanted = sum(file.size for file in store.missing()) + SPARE_BYTES
    place = nearest(store.folder)
    free = shutil.disk_usage(place).free
    if free >= wanted:
        return [ok("disk", f"{free / MEGA:.0f} MB free at {place}")]
    return [
        warning(
            "disk",
            f"{free / MEGA:.0f} MB free at {place}",
            expected=f"{wanted / MEGA:.0f} MB",
            advice="Make room, or name another folder for the models: ANTIPHON_MODELS",
        )
    ]


# -- do they run -------------------------------------------------------------------------------------------------------


async def look_at_work(
    store: ModelStore, *, command: Sequence[str] = COMMAND, limit_sec: float = TRIAL_SEC
) -> list[Finding]:
    """Load every model and use it once, in a process of its own: one that crashes there takes nobody with it."""
    if await aside(store.missing):
        return [skipped(TRIAL, "their files are not here")]
    began = time.monotonic()
    ended = await _run(command, {**os.environ, "ANTIPHON_MODELS": str(store.folder)}, limit_sec)
    if ended is None:
        return [_too_slow(limit_sec)]
    code, said = ended
    if code == 0:
        return [ok(TRIAL, f"each was loaded and used once, in {time.monotonic() - began:.1f} s for all")]
    return [_failed(code, said)]


async def _run(command: Sequence[str], environment: Mapping[str, str], limit_sec: float) -> tuple[int, str] | None:
    """The exit code and the end of what it said; None where it took too long."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=dict(environment)
    )
    try:
        async with asyncio.timeout(limit_sec):
            said, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = said.decode(errors="replace").strip().splitlines()
    return process.returncode or 0, "; ".join(lines[-LAST_LINES:])


def _too_slow(limit_sec: float) -> Finding:
    return fault(
        TRIAL,
        "they are still not ready",
        expected=f"all of them within {limit_sec:g} s",
        advice="This machine is too slow or too busy for them: give it more cores, or leave answering to a cloud.",
    )


def _failed(code: int, said: str) -> Finding:
    expected = "every model to load and to be used once"
    if code == -signal.SIGILL:
        advice = "This processor lacks instructions that the models' libraries use: run the edge on a newer one."
        return fault(TRIAL, "an illegal instruction", expected=expected, advice=advice)
    if code == -signal.SIGKILL:
        advice = "Most likely the memory ran out: give the machine or the container more."
        return fault(TRIAL, "the system killed them", expected=expected, advice=advice)
    found = f"signal {signal.Signals(-code).name}" if code < 0 else said or f"exit code {code}"
    advice = f"Fetch the files again ({MEND}), and install the packages as they are pinned (make setup)."
    return fault(TRIAL, found, expected=expected, advice=advice)
