"""One call of a load, from dialling to its end, whatever that is."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest

from edge_client.caller.question import Question
from edge_client.load.held_call import HeldCall, Line
from edge_client.load.news import CallBegan, CallConnected, CallEnded, LoadedTurn, News
from edge_client.load.plan import LoadPlan
from tests.edge import RunningEdge, running_edge
from tests.scripted import ScriptedBackend, say, tone

QUESTION = Question("a tone", np.concatenate([tone(0.3), np.zeros(2400, np.float32)]))


def line(url: str, told: list[News], **fields: Any) -> Line:
    plan = LoadPlan(
        url=url,
        **{"transport": "websocket", "concurrent": 1, "calls": 1, "turns": 1, "think_sec": 0.0, **fields},
    )
    return Line(plan=plan, key=None, questions=[QUESTION], began_at=time.monotonic(), tell=told.append)


def kinds(told: list[News]) -> list[type]:
    return [type(news) for news in told]


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_call_tells_of_each_step_and_measures_each_turn(nothing_left_behind: None) -> None:
    told: list[News] = []
    async with running_edge(ScriptedBackend(say("hello", seconds=0.6))) as edge:
        await HeldCall(1, line(edge.url, told)).hold()
    assert kinds(told) == [CallBegan, CallConnected, LoadedTurn, CallEnded]
    turn, ended = told[2:]
    assert isinstance(turn, LoadedTurn)
    assert isinstance(ended, CallEnded)
    assert turn.v2v_ms is not None
    assert turn.ttfa_ms is not None
    assert turn.steps > 1
    assert turn.tpot_ms is not None
    assert not turn.missed
    assert (ended.fault, ended.unasked) == (None, 0)


async def test_one_who_listens_says_nothing(nothing_left_behind: None) -> None:
    told: list[News] = []
    backend = ScriptedBackend()
    async with running_edge(backend) as edge:
        await HeldCall(1, line(edge.url, told, listening=1, lasting=True, duration_sec=0.3)).hold()
    assert kinds(told) == [CallBegan, CallConnected, CallEnded]
    assert backend.turns == []


async def test_a_call_that_finds_no_place_is_told_as_that(nothing_left_behind: None) -> None:
    told: list[News] = []
    async with running_edge(maximum_sessions=1) as edge:
        with edge.edge.place():
            await HeldCall(1, line(edge.url, told)).hold()
    ended = told[-1]
    assert isinstance(ended, CallEnded)
    assert (ended.fault, ended.unasked) == ("full", 0)
    assert ended.retry_after_sec is not None


async def test_where_nobody_answers_the_call_is_told_as_that() -> None:
    told: list[News] = []
    await HeldCall(1, line("http://127.0.0.1:1", told)).hold()
    ended = told[-1]
    assert isinstance(ended, CallEnded)
    assert (ended.fault, ended.unasked) == ("unreachable", 0)


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_turns_that_a_cut_call_could_not_ask_are_missed(nothing_left_behind: None) -> None:
    told: list[News] = []
    async with running_edge() as edge:
        call = asyncio.create_task(HeldCall(1, line(edge.url, told, turns=4, seed=3)).hold())
        while not any(isinstance(news, CallConnected) for news in told):
            await asyncio.sleep(0.01)
    await call
    ended = told[-1]
    assert isinstance(ended, CallEnded)
    assert ended.fault == "cut off"
    assert ended.unasked > 0


async def test_a_call_that_is_broken_off_says_so(nothing_left_behind: None) -> None:
    told: list[News] = []
    async with running_edge() as edge:
        call = asyncio.create_task(HeldCall(1, line(edge.url, told, listening=1)).hold())
        await _connected(told, edge)
        call.cancel()
        await asyncio.wait([call])
    ended = told[-1]
    assert isinstance(ended, CallEnded)
    assert (ended.broken_off, ended.fault) == (True, None)


async def _connected(told: list[News], edge: RunningEdge) -> None:
    while not (edge.edge.sessions and any(isinstance(news, CallConnected) for news in told)):
        await asyncio.sleep(0.01)
