"""What the command line of `antiphon load` means, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edge_client.load.callers import processes_for
from edge_client.load.program import Output, Server, Wanted, check_output, loaded, read_plan
from routing.errors import InvalidRequest, SettingsError
from tests.stranger import closed_to_us


def wanted(**fields: Any) -> Wanted:
    nothing: dict[str, Any] = dict.fromkeys(
        ("rate", "concurrent", "calls", "duration_sec", "steps", "session", "model"), None
    )
    usual = {
        "url": "http://x",
        "transport": "webrtc",
        "relayed": False,
        "turns": 3.0,
        "think_sec": 2.0,
        "listening": 0.0,
        "seed": 1,
    }
    return read_plan(**{**nothing, **usual, **fields})


def test_without_words_twenty_calls_come_by_chance() -> None:
    plan = wanted().plan
    assert (plan.rate_per_min, plan.calls, plan.duration_sec, plan.concurrent) == (30.0, 20, None, None)


def test_calls_may_be_held_for_a_while_instead() -> None:
    plan = wanted(concurrent=4, duration_sec=60.0).plan
    assert (plan.rate_per_min, plan.calls, plan.concurrent) == (None, None, 4)


def test_steps_are_held_one_after_the_other() -> None:
    climbed = wanted(steps="1,10, 30")
    assert climbed.steps == [1, 10, 30]
    assert (climbed.plan.concurrent, climbed.plan.duration_sec) == (30, 30.0)


def test_session_settings_are_json() -> None:
    assert wanted(session='{"audio": {}}').plan.session == {"type": "realtime", "audio": {}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": "1,ten"}, "numbers of calls like 1,10,30, got '1,ten'"),
        ({"steps": "0"}, "numbers of calls"),
        ({"steps": "1", "rate": 3.0}, "--steps without"),
        ({"rate": 3.0, "concurrent": 2}, "got both"),
        ({"transport": "websocket", "relayed": True}, "relays for calls over webrtc"),
        ({"session": "[]"}, "as a JSON object"),
        ({"session": "{"}, "as a JSON object"),
    ],
)
def test_what_contradicts_itself_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        wanted(**fields)


async def test_a_soak_in_steps_is_refused() -> None:
    output = Output(console=Console(quiet=True))
    with pytest.raises(InvalidRequest, match="either --steps or --soak"):
        await loaded(wanted(steps="1,2"), Server(), output, wav=None, text=None, is_soak=True, processes=1)


def test_files_that_cannot_be_written_are_told_of_before_anything_is_measured(tmp_path: Path) -> None:
    check_output(None, tmp_path / "report.json")
    with pytest.raises(SettingsError, match="cannot write"):
        check_output(tmp_path)
    with pytest.raises(SettingsError, match="cannot write"):
        check_output(None, tmp_path / "missing" / "report.json")


def test_files_that_we_may_not_write_are_told_of_likewise(tmp_path: Path) -> None:
    with closed_to_us(tmp_path), pytest.raises(SettingsError, match="the right to do so is missing"):
        check_output(tmp_path / "report.json")


def test_many_calls_are_spread_over_processes_but_not_over_more_than_there_are_cores() -> None:
    assert [processes_for(wanted(concurrent=count, duration_sec=9.0).plan, 4) for count in (1, 22, 300)] == [1, 2, 4]
