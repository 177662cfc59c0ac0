"""How busy this machine is, and how full its battery: looked up now and then, off the event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from routing.policy import DeviceState

PERIOD_SEC = 5.0
SUPPLIES = Path("/sys/class/power_supply")


class DeviceWatch:
    """`state` is what was seen last; `run` looks again every few seconds."""

    def __init__(self, supplies: Path = SUPPLIES) -> None:
        self.state = DeviceState()
        self._supplies = supplies

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.state = await asyncio.to_thread(look, self._supplies)
            await asyncio.sleep(PERIOD_SEC)


def look(supplies: Path = SUPPLIES) -> DeviceState:
    """The state at this moment. Reads files."""
    return DeviceState(load=_load(), battery=_battery(supplies))


def _load() -> float:
    """Processes that wish to run, per core; 0 where the system does not count them."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):  # no such function here, or a container that hides the figure
        return 0.0


def _battery(supplies: Path) -> float | None:
    """How full the emptiest battery is, 0 to 1; None on mains, without a battery, and where nobody tells."""
    kinds = {supply: _read(supply / "type") for supply in _entries(supplies)}
    if any(kind == "Mains" and _read(supply / "online") == "1" for supply, kind in kinds.items()):
        return None
    batteries = (supply for supply, kind in kinds.items() if kind == "Battery" and _read(supply / "scope") != "Device")
    return min(_levels(batteries), default=None)


def _levels(batteries: Iterator[Path]) -> Iterator[float]:
    for battery in batteries:
        percent = _read(battery / "capacity")
        if percent.isdecimal() and _read(battery / "status") not in ("Charging", "Full", "Not charging"):
            yield min(int(percent), 100) / 100


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
