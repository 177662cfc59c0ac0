"""What this process takes is told as far as the system tells it."""

from __future__ import annotations

from pathlib import Path

from routing.telemetry.process import observe_process, resident_bytes
from tests.counted import Counted


def test_processor_time_and_memory_are_told() -> None:
    counted = Counted.new()
    observe_process(counted.instruments)
    samples = counted.samples()
    assert samples["process_cpu_time_seconds_total"] > 0
    assert samples["process_memory_usage_bytes"] > 1e6


def test_memory_is_absent_where_the_system_does_not_tell(tmp_path: Path) -> None:
    file = tmp_path / "statm"
    assert resident_bytes(file) is None
    for text in ("", "12", "many pages"):
        file.write_text(text)
        assert resident_bytes(file) is None
    file.write_text("2000 1000 300 1 0 400 0\n")
    assert resident_bytes(file) in {1000 * 4096, 1000 * 16_384, 1000 * 65_536}
