"""The router of an edge with all that belongs to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edge_client.realtime.switchboard import open_switchboard
from edge_client.settings import EdgeSettings
from routing.errors import SettingsError
from routing.record import PlacementRecord
from routing.telemetry import names
from routing.telemetry.attempt_record import AttemptFigures
from routing.telemetry.program import Telemetry
from routing.telemetry.spans import Clock, trace_id_of
from routing.turns import Placement, ReplyEvent, Turn
from tests.scripted import ScriptedBackend, say

SOMEWHERE = "127.0.0.1:9"  # where nobody answers


async def answer(settings: EdgeSettings, backend: ScriptedBackend) -> list[ReplyEvent]:
    async with open_switchboard(settings, backend) as board:
        turn = Turn(session_id="session", turn_id="turn", index=0)
        async with board.router.open(turn, on_heard=lambda heard: None) as exchange:
            exchange.commit()
            return [event async for event in exchange.reply()]


async def test_with_the_device_alone_it_answers(nothing_left_behind: None) -> None:
    events = await answer(EdgeSettings(), ScriptedBackend(say("hello")))
    placement = events[0]
    assert isinstance(placement, Placement)
    assert placement.backend == "scripted"


async def test_who_has_an_address_may_answer(nothing_left_behind: None) -> None:
    settings = EdgeSettings.model_validate(
        {"cloud": {"url": f"ws://{SOMEWHERE}"}, "upstream": {"url": f"http://{SOMEWHERE}"}}
    )
    async with open_switchboard(settings, ScriptedBackend()) as board:
        while board.statistics()["backends"]["cloud"]["why_not"] is None:
            await asyncio.sleep(0)
        backends = board.statistics()["backends"]
    assert list(backends) == ["scripted", "cloud", "upstream"]
    assert backends["cloud"]["why_not"] == "not connected"


async def test_what_became_of_a_turn_is_written_down(tmp_path: Path, nothing_left_behind: None) -> None:
    file = tmp_path / "placements.jsonl"
    await answer(EdgeSettings(records=str(file)), ScriptedBackend(say("hello")))
    lines = (await asyncio.to_thread(file.read_text)).splitlines()
    assert len(lines) == 1
    assert "hello" not in lines[0]


async def test_a_file_that_cannot_be_written_is_told_at_the_start(tmp_path: Path, nothing_left_behind: None) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        await answer(EdgeSettings(records=str(tmp_path / "nowhere" / "placements.jsonl")), ScriptedBackend())


async def test_a_turn_is_one_trace_of_its_decision_and_its_attempts(nothing_left_behind: None) -> None:
    settings = EdgeSettings.model_validate({"cloud": {"url": f"ws://{SOMEWHERE}"}})
    clock, told, placed = Clock.of_loop(), list[AttemptFigures](), list[PlacementRecord]()
    telemetry = await asyncio.to_thread(Telemetry.within, clock, service=names.EDGE)
    root = telemetry.spans(names.EDGE).begin(names.TURN, at=asyncio.get_running_loop().time())
    turn = Turn(session_id="session", turn_id="turn", index=0, trace_context=root.carrier)
    async with (
        open_switchboard(
            settings, ScriptedBackend(say("hello")), telemetry, on_attempt=told.append, on_placed=placed.append
        ) as board,
        board.router.open(turn, on_heard=lambda heard: None) as exchange,
    ):
        exchange.commit()
        assert [event async for event in exchange.reply()]
    spans = {span.name: span for span in telemetry.book.trace(trace_id_of(root.carrier))}
    assert set(spans) >= {"route.decide", "generate_content scripted"}
    assert spans["route.decide"].attributes[names.ROUTE_TARGET] == "scripted"
    assert spans["generate_content scripted"].attributes[names.ATTEMPT_OUTCOME] == "told"
    assert ("scripted", "told") in [(figures.backend, figures.outcome) for figures in told]
    assert [record.trace_id for record in placed] == [trace_id_of(root.carrier)]
    assert "hello" not in str(spans)


async def test_a_fault_inside_stays_what_it_is(nothing_left_behind: None) -> None:
    with pytest.raises(SettingsError, match="mine"):
        async with open_switchboard(EdgeSettings(), ScriptedBackend()):
            raise SettingsError("mine")
