"""What is known of the machine at the edge."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from edge_client.device_state import DeviceWatch, look


def supply(folder: Path, name: str, **files: str) -> None:
    (folder / name).mkdir()
    for file, text in files.items():
        (folder / name / file).write_text(text + "\n")


def test_the_emptiest_battery_counts(tmp_path: Path) -> None:
    supply(tmp_path, "AC", type="Mains", online="0")
    supply(tmp_path, "BAT0", type="Battery", capacity="80", status="Discharging")
    supply(tmp_path, "BAT1", type="Battery", capacity="35", status="Discharging")
    supply(tmp_path, "mouse", type="Battery", capacity="2", status="Discharging", scope="Device")
    assert look(tmp_path).battery == 0.35


def test_a_load_that_the_system_keeps_to_itself_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden() -> tuple[float, float, float]:
        raise OSError("Load averages are unobtainable")

    monkeypatch.setattr(os, "getloadavg", hidden)
    assert look(tmp_path).load == 0.0


@pytest.mark.parametrize(
    "files",
    [
        {"type": "Mains", "online": "1"},
        {"type": "Battery", "capacity": "20", "status": "Charging"},
        {"type": "Battery", "capacity": "much", "status": "Discharging"},
        {},
    ],
)
def test_on_mains_or_where_nobody_tells_there_is_no_level(tmp_path: Path, files: dict[str, str]) -> None:
    supply(tmp_path, "supply", **files)
    assert look(tmp_path).battery is None
    assert look(tmp_path / "nowhere").battery is None


async def test_the_watch_knows_what_it_saw_last(tmp_path: Path) -> None:
    watch = DeviceWatch(tmp_path)
    assert (watch.state.load, watch.state.battery) == (0.0, None)
    await asyncio.to_thread(supply, tmp_path, "BAT0", type="Battery", capacity="50", status="Discharging")
    running = asyncio.create_task(watch.run())
    while watch.state.battery is None:
        await asyncio.sleep(0)
    running.cancel()
    assert watch.state.battery == 0.5
    assert watch.state.load >= 0.0
