"""The one call in which everything is asked, act by act."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
from rich.console import Console

from edge_client.caller.client import Caller
from edge_client.caller.interview import REPLY_TIMEOUT_SEC, interrupt, interview
from edge_client.caller.question import Question
from edge_client.caller.report import TurnReport, report_turn, turn_line
from edge_client.demo.cloud_process import Cloud, Coming, kill
from edge_client.demo.programme import Programme
from edge_client.network.relay import Relay
from edge_client.terminal import telling

INTERRUPTED_AFTER_SEC = 0.6
KILLED_AFTER_SEC = 0.25  # after the last word: the answer is being made since the pause, and is not complete
SLOWED_SEC = 0.4
QUICK_MS = 100.0  # of round trip, which is next to nothing on one machine
SEEN_WITHIN_SEC = 20.0
SEEN_EVERY_SEC = 0.1

type Act = Literal["opening", "chosen", "private", "slowed", "killed", "bereft", "barge-in"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and what became of it."""

    act: Act
    question: Question
    turn: TurnReport


class CloudInPlay:
    """The cloud behind the relay: comes while the conversation goes on, and gets into trouble when told to."""

    def __init__(self, coming: Coming, relay: Relay) -> None:
        self._coming = coming
        self._relay = relay

    async def arrive(self, edge_url: str) -> None:
        """Return when the edge may ask it.

        Raises:
            BackendUnavailable: it did not start.
        """
        self._relay.target = (await self._coming).address
        await _seen_quick(edge_url)

    def slow(self) -> None:
        """Let everything take its time on the way back."""
        self._relay.slow(back_sec=SLOWED_SEC)

    async def hurry(self, edge_url: str) -> None:
        """Be quick again; return when the edge knows."""
        self._relay.slow()
        await _seen_quick(edge_url)

    @property
    def _cloud(self) -> Cloud:
        return self._coming.result()

    async def replicas(self) -> list[int]:
        """Their processes."""
        return await self._cloud.replicas()


async def _seen_quick(edge_url: str) -> None:
    """Return when the edge has seen a quick cloud, or after a while in which it has not."""
    async with httpx.AsyncClient(base_url=edge_url, trust_env=False) as client:
        for _ in range(int(SEEN_WITHIN_SEC / SEEN_EVERY_SEC)):
            if _is_quick((await client.get("/v1/statistics")).json()):
                return
            await asyncio.sleep(SEEN_EVERY_SEC)


def _is_quick(statistics: dict[str, object]) -> bool:
    match statistics:
        case {"routing": {"backends": {"cloud": {"why_not": None, "round_trip_ms": float(round_trip_ms)}}}}:
            return 0 < round_trip_ms < QUICK_MS
    return False


class Conversation:
    """What was asked so far, in one call."""

    def __init__(self, call: Caller, console: Console, folder: Path) -> None:
        self.asked: list[Asked] = []
        self._call = call
        self._console = console
        self._folder = folder

    async def ask(self, act: Act, questions: Sequence[Question]) -> None:
        """Each in its turn."""
        first = len(self.asked) + 1
        async with aclosing(interview(self._call, questions, folder=self._folder, first=first)) as answered:
            for question in questions:
                self._note(act, question, await anext(answered))

    async def ask_in_private(self, questions: Sequence[Question]) -> None:
        """What is said now does not leave the device."""
        self._wish_privacy("device_only")
        await self.ask("private", questions)
        self._wish_privacy("any")

    def _wish_privacy(self, privacy: str) -> None:
        session = {"type": "realtime", "antiphon": {"privacy": privacy}}
        self._call.send({"type": "session.update", "session": session})

    async def ask_and_kill(self, question: Question, pids: Sequence[int]) -> None:
        """End these processes while they make the answer."""
        await self._call.say(question.samples)
        await asyncio.sleep(KILLED_AFTER_SEC)
        kill(pids)
        reply = await self._call.reply(REPLY_TIMEOUT_SEC)
        self._note("killed", question, report_turn(question.text, reply))

    async def interrupt(self, question: Question, interruption: Question) -> None:
        """Talk into an answer."""
        cut = await interrupt(self._call, question, interruption, after_sec=INTERRUPTED_AFTER_SEC)
        for asked, turn in zip((question, interruption), cut, strict=True):
            self._note("barge-in", asked, turn)

    def _note(self, act: Act, question: Question, turn: TurnReport) -> None:
        self.asked.append(Asked(act, question, turn))
        self._console.print(turn_line(len(self.asked), turn))


async def converse(
    url: str, programme: Programme, console: Console, *, folder: Path, cloud: CloudInPlay | None = None
) -> list[Asked]:
    """All acts in order; those about a cloud only where there is one."""
    async with Caller.connect(url) as call:
        conversation = Conversation(call, console, folder)
        if cloud:
            console.print("[bold]The cloud is starting. Meanwhile the device answers.[/]")
        await conversation.ask("opening", programme.opening)
        if cloud:
            await _arrive(cloud, url, console)
        await conversation.ask("chosen", programme.chosen)
        if cloud:
            console.print("[bold]This must not leave the device.[/]")
        await conversation.ask_in_private(programme.private)
        if cloud:
            await _trouble(conversation, cloud, programme, url, console)
        console.print("[bold]An answer is interrupted.[/]")
        await conversation.interrupt(programme.long, programme.interruption)
    return conversation.asked


async def _arrive(cloud: CloudInPlay, url: str, console: Console) -> None:
    with telling(console) as tell:
        tell("waiting for the cloud")
        await cloud.arrive(url)
    console.print("[bold]The cloud is there. Each turn goes where its answer is worth most.[/]")


async def _trouble(
    conversation: Conversation, cloud: CloudInPlay, programme: Programme, url: str, console: Console
) -> None:
    console.print(f"[bold]The way back from the cloud now takes {SLOWED_SEC * 1000:.0f} ms.[/]")
    cloud.slow()
    await conversation.ask("slowed", programme.slowed)
    with telling(console) as tell:
        tell("waiting until the cloud is known to be quick again")
        await cloud.hurry(url)
    console.print("[bold]The cloud is quick again. Its replicas are killed while they answer.[/]")
    await conversation.ask_and_kill(programme.doomed, await cloud.replicas())
    await conversation.ask("bereft", programme.bereft)
