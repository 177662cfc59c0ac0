"""What this process takes is told as far as the system tells it."""

from __future__ import annotations

import os
from pathlib import Path

from routing.telemetry.process import Moment, observe_process, resident_bytes
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


def test_how_long_a_start_took_is_told_where_the_system_knows_when_it_began(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    assert Moment(1000.0).since_start(stat) is None
    stat.write_text("7 (a name) with) S " + " ".join(["0"] * 18) + " 98750 0 0\n")
    assert Moment(1000.0).since_start(stat) == 1000.0 - 98750 / os.sysconf("SC_CLK_TCK")
    assert Moment(None).since_start(stat) is None


def test_this_process_was_started_before_now() -> None:
    age_sec = Moment.now().since_start()
    assert age_sec is None or 0 < age_sec < 86_400
