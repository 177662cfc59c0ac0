"""Questions asked one after the other in one call, each after the answer to the one before."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

from edge_client.audio import write_wav
from edge_client.caller.client import Caller
from edge_client.caller.question import Question
from edge_client.caller.report import TurnReport, report_turn
from edge_client.caller.spoken import Reply

PAUSE_SEC = 0.5  # between the end of an answer and the next question: people do not fire at once either
REPLY_TIMEOUT_SEC = 30.0


async def interview(
    call: Caller,
    questions: Iterable[Question],
    *,
    folder: Path | None = None,
    first: int = 1,
    pause_sec: float = PAUSE_SEC,
) -> AsyncGenerator[TurnReport]:
    """Ask each question and report its turn; what was answered is saved in ``folder``, numbered from ``first`` on."""
    for number, question in enumerate(questions, first):
        if number > 1:
            await asyncio.sleep(pause_sec)
        await call.say(question.samples)
        reply = await call.reply(REPLY_TIMEOUT_SEC)
        recording = await asyncio.to_thread(save, reply, folder, f"{number:02} {question.text}")
        yield report_turn(question.text, reply, recording=recording)


async def interrupt(
    call: Caller, question: Question, interruption: Question, *, after_sec: float
) -> tuple[TurnReport, TurnReport]:
    """Ask a question and talk into its answer ``after_sec`` after it began."""
    cut = await call.say(question.samples)
    if await call.audible(REPLY_TIMEOUT_SEC):
        await asyncio.sleep(after_sec)
    await call.say(interruption.samples, interrupting=True)
    reply = await call.reply(REPLY_TIMEOUT_SEC)
    return report_turn(question.text, cut.reply()), report_turn(interruption.text, reply)


def save(reply: Reply, folder: Path | None, title: str) -> str | None:
    """Write the sound of a reply, named after its question; returns where it is. Blocks."""
    if folder is None or reply.sound is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{file_name(title)}.wav"
    write_wav(path, reply.sound.samples, reply.sound.sample_rate)
    return str(path)


def file_name(title: str) -> str:
    """A title as a file name that every system takes."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] or "reply"
