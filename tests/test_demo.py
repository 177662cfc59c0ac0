"""The demonstration: its conversation against a scripted edge, and the whole of it with the real one."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edge_client.caller.measure import Latency
from edge_client.caller.question import Question
from edge_client.caller.report import TurnReport, report_turn
from edge_client.caller.spoken import Reply
from edge_client.caller.watch import ServerNumbers
from edge_client.demo import LEAST_ANSWERED, Programme, converse, verdict
from tests.edge import running_edge
from tests.scripted import ScriptedBackend, say, tone


def question(text: str, *, synthesised: bool = True) -> Question:
    return Question(text, np.concatenate((np.zeros(2400, np.float32), tone(0.4))), synthesised=synthesised)


def turn(transcript: str, *, answered: bool = True) -> TurnReport:
    latency = Latency(v2v_sec=0.3 if answered else None)
    reply = Reply(transcript=transcript, answer="", latency=latency, numbers=ServerNumbers(), sound=None)
    return report_turn("", reply)


QUESTIONS = [
    question("What is twelve times seven?"),
    *(question("What time is it?") for _ in range(LEAST_ANSWERED - 1)),
    question("a person", synthesised=False),
]
GOOD = [
    turn("what is 12 times 7"),
    *(turn("What time is it?") for _ in range(LEAST_ANSWERED - 1)),
    turn("it was the best of times"),
]


def test_a_good_conversation_has_no_faults() -> None:
    assert list(verdict(QUESTIONS, GOOD)) == []


def test_a_barge_in_at_the_end_is_not_judged() -> None:
    assert list(verdict(QUESTIONS, [*GOOD, turn("", answered=False)])) == []


def test_a_wrong_word_is_a_fault() -> None:
    turns = [replace(GOOD[0], transcript="what is 12 times 11"), *GOOD[1:]]
    (fault,) = verdict(QUESTIONS, turns)
    assert fault == "expected the words 'What is twelve times seven?', the edge heard 'what is 12 times 11'"


def test_too_few_answers_are_a_fault() -> None:
    turns = [replace(good, v2v_ms=None) for good in GOOD[:2]] + GOOD[2:]
    assert list(verdict(QUESTIONS, turns)) == ["expected at least 5 answered turns, got 4"]


@pytest.mark.slow
async def test_the_conversation_is_held_saved_and_interrupted(tmp_path: Path, nothing_left_behind: None) -> None:
    backend = ScriptedBackend(
        say("noon", seconds=0.3, heard="what time is it"),
        say("once upon a time", seconds=9, heard="tell me a story"),
        say("fifteen", seconds=0.3, heard="what is nine plus six"),
    )
    programme = Programme((question("What time is it?"),), question("A story."), question("Nine plus six?"))
    console = Console(width=120, no_color=True)
    with console.capture() as capture:
        async with running_edge(backend) as edge:
            turns = await converse(edge.url, programme, console, folder=tmp_path)
    assert [turn.transcript for turn in turns] == [
        "what time is it",
        "tell me a story",
        "what is nine plus six",
    ]
    assert [turn.cut_ms is not None for turn in turns] == [False, False, True]
    assert all(turn.answered for turn in turns)
    assert await asyncio.to_thread(os.listdir, tmp_path) == ["01-what-time-is-it.wav"]
    assert "what time is it → noon" in capture.get()


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_the_whole_demonstration(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge_client.cli", "demo", "--once"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert b"Start to first answered turn" in output
    assert len(await asyncio.to_thread(os.listdir, tmp_path / "artifacts" / "demo")) >= LEAST_ANSWERED
