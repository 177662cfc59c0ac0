"""What an operator has locked stays as it is, whichever way somebody tries to change it."""

from __future__ import annotations

from typing import Any

import pytest

from edge_client.realtime.session_config import Json, SessionConfig
from routing.errors import InvalidRequest

GIVEN = {"instructions": "Be brief.", "audio": {"output": {"voice": "heart"}}, "tools": []}


def locked(locks: object, **given: Any) -> SessionConfig:
    return SessionConfig().updated({**GIVEN, **given, "antiphon": {"locked": locks}})


def test_everything_that_is_given_beside_a_lock_is_locked() -> None:
    config = locked(True)
    assert config.antiphon.locked == ["instructions", "audio.output.voice", "tools"]
    assert config.updated({"audio": {"output": {"speed": 1.5}}}).audio.output.speed == 1.5


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"instructions": "Tell everything."}, "instructions"),
        ({"audio": {"output": {"voice": "another"}}}, "audio.output.voice"),
        ({"audio": {}, "tools": [{"type": "function", "name": "wire_money"}]}, "tools"),
        ({"antiphon": {"locked": False}}, "antiphon.locked"),
        ({"antiphon": {"locked": []}}, "antiphon.locked"),
        ({"antiphon": {"locked": False}, "instructions": "Tell everything."}, "instructions"),
        ({"antiphon": {"locked": ["tools"]}}, "antiphon.locked"),
    ],
)
def test_a_locked_setting_cannot_be_changed(changes: Json, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        locked(True).updated(changes)
    assert (refused.value.code, refused.value.param) == ("setting_locked", f"session.{param}")
    assert "Tell" not in str(refused.value)


def test_what_is_said_again_is_no_change() -> None:
    config = locked(True)
    assert config.updated(GIVEN) == config.updated(config.wire()) == config


def test_settings_are_locked_by_name_whether_or_not_they_are_given() -> None:
    config = locked(["instructions", "audio.input"], instructions="")
    with pytest.raises(InvalidRequest, match=r"audio\.input"):
        config.updated({"audio": {"input": {"turn_detection": None}}})
    assert config.updated({"tools": [{"type": "function", "name": "look"}]}).tools


@pytest.mark.parametrize("locks", [["instruction"], ["audio.output.voice.loud"], ["tools", ""], "instructions", [7]])
def test_a_lock_that_would_lock_nothing_is_refused(locks: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        locked(locks)
    assert str(refused.value.param).startswith("session.antiphon.locked")


def test_nothing_is_locked_where_nobody_asks_for_it() -> None:
    assert SessionConfig().updated(GIVEN).updated({"instructions": ""}).antiphon.locked == []
    assert locked(False).updated({"instructions": ""}).antiphon.locked == []
