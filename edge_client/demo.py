"""The demonstration: an edge is started, asked some questions aloud in one WebRTC call, and left running."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from edge_client.audio import read_audio
from edge_client.caller.client import Caller
from edge_client.caller.command import started_edge
from edge_client.caller.edge_process import EdgeProcess
from edge_client.caller.interview import interrupt, interview
from edge_client.caller.microphone import MICROPHONE_RATE
from edge_client.caller.question import Question, first_sentence, synthesised
from edge_client.caller.report import TurnReport, conditions, summary_table, turn_line, turns_table
from edge_client.caller.wording import same_words
from edge_client.models.store import ModelStore
from edge_client.terminal import Tell

TEXTS = (
    "What time is it?",
    "What is twelve times seven?",
    "What day is it?",
    "Set a timer for two minutes.",
    "What is twenty percent of eighty?",
    "How are you today?",
)
LONG = "Tell me a long story about the sea."  # whose answer is interrupted
INTERRUPTION = "What is nine plus six?"
INTERRUPTED_AFTER_SEC = 0.6
HUMAN = "a person reading a novel"

LEAST_ANSWERED = 5
FOLDER = Path("artifacts/demo")
LONGEST_START_SEC = 10.0
MOST_MEMORY_MB = 900


@dataclass(frozen=True, slots=True)
class Programme:
    """What is asked, in this order."""

    questions: tuple[Question, ...]
    long: Question
    interruption: Question


def prepare(store: ModelStore, tell: Tell) -> Programme:
    """Speak the questions and cut the recording. Blocks for a few seconds.

    Raises:
        ModelError: the recording is not there.
    """
    tell("speaking the questions")
    *questions, long, interruption = synthesised((*TEXTS, LONG, INTERRUPTION))
    recording = read_audio(store.path("human_speech"), MICROPHONE_RATE)
    human = Question(HUMAN, first_sentence(recording, MICROPHONE_RATE))
    return Programme((*questions, human), long, interruption)


async def demo(programme: Programme, console: Console, *, once: bool, port: int, folder: Path = FOLDER) -> bool:
    """Hold the conversation, show it, and wait for Ctrl-C unless it is for ``once``; returns whether all went well."""
    async with started_edge(console, port=port) as edge:
        turns = await converse(edge.url, programme, console, folder=folder)
        faults = list(verdict(programme.questions, turns))
        _show(turns, edge, console)
        for fault in faults:
            console.print(f"[red]{escape(fault)}[/]")
        console.print(f"The replies are in {folder}.")
        if not once:
            await _leave_running(edge, console)
    return not faults


async def converse(url: str, programme: Programme, console: Console, *, folder: Path) -> list[TurnReport]:
    """All turns in order; the last two are the interrupted one and its interruption."""
    turns: list[TurnReport] = []
    async with (
        Caller.connect(url) as call,
        aclosing(interview(call, programme.questions, folder=folder)) as answered,
    ):
        async for turn in answered:
            turns.append(turn)
            console.print(turn_line(len(turns), turn))
        cut = await interrupt(call, programme.long, programme.interruption, after_sec=INTERRUPTED_AFTER_SEC)
    for turn in cut:
        turns.append(turn)
        console.print(turn_line(len(turns), turn))
    return turns


def verdict(questions: Sequence[Question], turns: Sequence[TurnReport]) -> Iterator[str]:
    """What went wrong in the turns of the questions, as sentences. What follows them, the barge-in, is a bonus."""
    asked = turns[: len(questions)]
    answered = sum(turn.answered for turn in asked)
    if answered < LEAST_ANSWERED:
        yield f"expected at least {LEAST_ANSWERED} answered turns, got {answered}"
    for question, turn in zip(questions, asked, strict=False):
        if question.synthesised and not same_words(question.text, turn.transcript):
            yield f"expected the words {question.text!r}, the edge heard {turn.transcript!r}"


def _show(turns: Sequence[TurnReport], edge: EdgeProcess, console: Console) -> None:
    console.print(turns_table(turns), summary_table(turns), str(conditions()))
    first = next((turn.heard_at for turn in turns if turn.heard_at is not None), None)
    if first is not None:
        seconds = first - edge.started_at
        console.print(f"Start to first answered turn: {seconds:.1f} s (at most {LONGEST_START_SEC:.0f} expected)")
    if memory := edge.memory():
        megabytes = memory.peak / 1e6
        console.print(
            f"Resident memory of the edge: {megabytes:.0f} MB at its peak (at most {MOST_MEMORY_MB} expected)"
        )


async def _leave_running(edge: EdgeProcess, console: Console) -> None:
    """Until Ctrl-C, which is how this is meant to end, or until the edge ends."""
    console.print(f"\nThe page is at [bold]{edge.url}[/]. Open it, allow the microphone and speak. Ctrl-C ends it.")
    loop, ending = asyncio.get_running_loop(), asyncio.create_task(edge.ended())
    try:
        loop.add_signal_handler(signal.SIGINT, ending.cancel)
    except NotImplementedError:  # Windows: there Ctrl-C cancels this task
        await ending
    try:
        await asyncio.wait([ending])
    finally:
        ending.cancel()
        loop.remove_signal_handler(signal.SIGINT)
