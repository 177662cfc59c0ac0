"""What the command line of `antiphon load` means."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_client.caller.command import BENCH_QUESTIONS, read_questions
from edge_client.load.command import Output, Server, climb, load, soak, workplace
from edge_client.load.plan import LoadPlan, Transport
from routing.errors import InvalidRequest, SettingsError

__all__ = ["Output", "Server", "check_output", "loaded", "read_plan"]

USUAL_RATE: Final = 30.0
USUAL_CALLS: Final = 20
USUAL_STEP_SEC: Final = 30.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A plan, and the numbers of calls where it is climbed in steps."""

    plan: LoadPlan
    steps: Sequence[int] = ()


def read_plan(
    *,
    url: str,
    transport: Transport,
    relayed: bool,
    rate: float | None,
    concurrent: int | None,
    calls: int | None,
    duration_sec: float | None,
    turns: float,
    think_sec: float,
    listening: float,
    steps: str | None,
    seed: int,
    session: str | None,
    model: str | None,
) -> Wanted:
    """What is wanted.

    Raises:
        InvalidRequest: it contradicts itself.
    """
    counts = read_steps(steps)
    if counts and (rate or concurrent or calls or listening):
        raise InvalidRequest(
            "expected --steps without --rate, --concurrent, --calls and --listening: they are the load"
        )
    if rate and concurrent:
        raise InvalidRequest("expected either --rate or --concurrent, got both")
    if counts:
        concurrent, duration_sec = max(counts), duration_sec or USUAL_STEP_SEC
    plan = LoadPlan(
        url=url,
        transport=transport,
        relayed=relayed,
        rate_per_min=None if concurrent else rate or USUAL_RATE,
        concurrent=concurrent,
        calls=calls or (None if duration_sec else USUAL_CALLS),
        duration_sec=duration_sec,
        turns=turns,
        think_sec=think_sec,
        listening=listening,
        seed=seed,
        model=model,
        session=read_session(session),
    )
    return Wanted(plan, counts)


def read_steps(text: str | None) -> list[int]:
    """Numbers of calls, in the order given.

    Raises:
        InvalidRequest: they are none.
    """
    if text is None:
        return []
    counts = [int(part) for part in text.split(",") if part.strip().isdecimal()]
    if len(counts) != len(text.split(",")) or not all(counts):
        raise InvalidRequest(f"expected numbers of calls like 1,10,30, got {text!r}", param="steps")
    return counts


def read_session(text: str | None) -> Mapping[str, Any] | None:
    """Session settings.

    Raises:
        InvalidRequest: they are no JSON object.
    """
    if text is None:
        return None
    try:
        session = json.loads(text)
    except ValueError:
        session = None
    if not isinstance(session, dict):
        raise InvalidRequest(f"expected session settings as a JSON object, got {text!r}", param="session")
    return {"type": "realtime", **session}


def check_output(*files: Path | None) -> None:
    """To be told before anything is measured.

    Raises:
        SettingsError: a file cannot be written.
    """
    for file in files:
        if file is None:
            continue
        try:
            if file.is_dir() or not file.parent.is_dir():
                raise SettingsError(f"cannot write {file}: it is a folder, or its folder is not there")
            is_ours = os.access(file if file.exists() else file.parent, os.W_OK)
        except OSError:  # a folder on the way is closed to us
            is_ours = False
        if not is_ours:
            raise SettingsError(f"cannot write {file}: the right to do so is missing")


async def loaded(
    wanted: Wanted,
    server: Server,
    output: Output,
    *,
    wav: Sequence[Path] | None,
    text: Sequence[str] | None,
    is_soak: bool,
    processes: int | None,
) -> bool:
    """Do it; returns whether nobody was let down, and nothing leaked that was looked for.

    Raises:
        InvalidRequest: a soak is wanted, and steps are: leaks show under a load that stays the same.
    """
    if wanted.steps and is_soak:
        raise InvalidRequest(
            "expected either --steps or --soak, got both: leaks are judged while the load stays as it is"
        )
    output.console.print("[dim]speaking the questions[/]" if not wav else "[dim]reading the recordings[/]")
    questions = await asyncio.to_thread(read_questions, wav or [], text or ([] if wav else BENCH_QUESTIONS))
    async with workplace(wanted.plan, questions, server, output, processes=processes) as work:
        if wanted.steps:
            return await climb(work, wanted.steps, hold_sec=wanted.plan.duration_sec or USUAL_STEP_SEC)
        return await (soak if is_soak else load)(work)
