"""Antiphon beside other voice stacks: how long a caller waits for an answer that takes no time to find.

Three servers run at once, each in a process of its own, and all answer with the same tone of 1 kHz as soon as they
believe that the caller has finished:

  Antiphon   ``antiphon edge --engine tone``; its client asks for server_vad with 200 ms of silence
  Pipecat    1.14.0, SmallWebRTC and Silero at their defaults (stop_secs 0.2)
  FastRTC    0.0.34, ReplyOnPause at its defaults (no hang-over: chunks of 0.6 s are judged)

One caller calls them in turns with the same sentences, clean and with 1 % of its own packets lost at random. For all of
them it sends, receives and measures in the same way: from the last audible sample of the sentence as it passes the
microphone to the first audible sample of the tone as it comes out of the decoder. A reply counts only if it is the
tone. The processor time is the servers' own.

The other stacks are not part of this project and are needed for this comparison only. Where uv is not installed it is
``.venv/bin/uv``:

  uv venv --python 3.12 ~/peers/pipecat
  uv pip install --python ~/peers/pipecat "pipecat-ai[webrtc,runner,silero]==1.14.0"

  uv venv --python 3.12 ~/peers/fastrtc
  uv pip install --python ~/peers/fastrtc "fastrtc==0.0.34" "gradio>=5.40,<6" "huggingface_hub<1" onnxruntime
  uv pip install --python ~/peers/fastrtc --no-deps "faster-whisper==1.0.2"  # for the Silero graph in its wheel

  python -m tests.bench_peers --pipecat ~/peers/pipecat/bin/python --fastrtc ~/peers/fastrtc/bin/python

It takes about seven minutes. Leave the machine idle meanwhile. A stack that is not named is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uvloop
from rich.console import Console
from rich.table import Table

from edge_client.caller.client import Caller, warm_up
from edge_client.caller.dialect import FASTRTC, OPENAI, PIPECAT, Dialect
from edge_client.caller.microphone import MICROPHONE_RATE
from edge_client.caller.question import Question, recorded, synthesised
from edge_client.caller.report import conditions
from edge_client.caller.spoken import Reply
from edge_client.network.emulated import emulate
from edge_client.network.profile import CLEAN, NetworkProfile
from edge_client.quantiles import quantiles
from routing.errors import AntiphonError
from routing.turns import AudioChunk
from tests.peer_servers.answer import TONE_HZ, TONE_SEC
from tests.server_process import ServerProcess, server_process

SENTENCES = ("What time is it?", "Tell me a joke.", "What is twelve times seven?")
HANGOVER_MS = 200
SESSION: Mapping[str, Any] = {
    "type": "realtime",
    "audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": HANGOVER_MS}}},
}
LOSSY = NetworkProfile(name="1 % lost", loss=0.01)
UPLINKS = (CLEAN, LOSSY)

SETTLE_SEC = 0.7  # before the first sentence of a call, and after its end
PAUSE_SEC = (0.3, 0.9)  # after a reply: long enough to be heard as silence, and uneven
LONGEST_LEAD_SEC = 0.04  # before a sentence, so that it ends anywhere within packets and the detectors' frames
PATIENCE_SEC = 3.0  # a reply that takes longer is missed
QUIET_SEC = 0.3  # of silence after which a reply is over
CLOSE_TO_TONE_HZ = 50
LEAST_TONE_SEC = TONE_SEC / 2  # a part may be lost on the way, or come late, without making it another sound

WIDTH = 120  # of the tables, wherever they are written to

PEER_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "LOGURU_LEVEL": "WARNING",  # Pipecat writes every frame to its log otherwise, and that takes time
}


@dataclass(frozen=True, slots=True)
class System:
    """A server to call. ``target`` is what share of its latency Antiphon is meant to take, by uplink."""

    name: str
    command: tuple[str | Path, ...]
    dialect: Dialect
    environment: Mapping[str, str]
    target: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFigures:
    """One turn; None where no tone came after the sentence."""

    v2v_ms: float | None
    early: bool = False
    strange_ms: float | None = None  # after which something came that is not the tone
    reply_ms: float = 0.0  # from the first to the last audible sample of whatever came


MISSED = TurnFigures(v2v_ms=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFigures:
    """One call."""

    system: str
    uplink: str
    round: int
    connect_ms: float | None
    duration_sec: float
    processor_sec: float  # of the server
    turns: tuple[TurnFigures, ...]


class Plan(NamedTuple):
    questions: Sequence[Question]
    calls: int
    turns: int


# -- the servers -----------------------------------------------------------------------------------------------------


def systems(arguments: argparse.Namespace) -> list[System]:
    """Those that were named, Antiphon first."""
    edge = (sys.executable, "-m", "edge_client.cli", "edge", "--engine", "tone", "--port", "0")
    found = [System("Antiphon", edge, OPENAI, _own_environment(), {})]
    if arguments.pipecat:
        found.append(_peer("Pipecat", arguments.pipecat, PIPECAT, {CLEAN.name: 0.7, LOSSY.name: 0.5}))
    if arguments.fastrtc:
        found.append(_peer("FastRTC", arguments.fastrtc, FASTRTC, {CLEAN.name: 0.3, LOSSY.name: 0.3}))
    return found


def _own_environment() -> dict[str, str]:
    """Without the settings of whoever sits here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    return kept | {name: os.environ[name] for name in ("ANTIPHON_MODELS",) if name in os.environ}


def _peer(name: str, python: Path, dialect: Dialect, target: Mapping[str, float]) -> System:
    command = (python.expanduser(), "-m", f"tests.peer_servers.{name.lower()}_tone")
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return System(name, command, dialect, environment | PEER_ENVIRONMENT, target)


@asynccontextmanager
async def running(called: Iterable[System], console: Console) -> AsyncIterator[dict[str, ServerProcess]]:
    """All servers, by name."""
    async with AsyncExitStack() as stack:
        servers: dict[str, ServerProcess] = {}
        for system in called:
            servers[system.name] = await stack.enter_async_context(server_process(system.command, system.environment))
            console.print(f"[dim]{system.name} is ready at {servers[system.name].url}[/]")
        yield servers


# -- calls -----------------------------------------------------------------------------------------------------------


async def compare(called: Sequence[System], plan: Plan, console: Console) -> list[CallFigures]:
    """Call everybody in turns: what slows the machine down slows all of them down."""
    figures: list[CallFigures] = []
    await warm_up()
    async with running(called, console) as servers:
        for system in called:  # once before it counts: a first call loads and fills what later ones find
            await call(system, servers[system.name], plan._replace(turns=1), uplink=CLEAN, number=0)
        for number in range(1, plan.calls + 1):
            for uplink in UPLINKS:
                for system in called:
                    figures.append(await call(system, servers[system.name], plan, uplink=uplink, number=number))
                    console.print(line(figures[-1]))
    return figures


async def call(
    system: System, server: ServerProcess, plan: Plan, *, uplink: NetworkProfile, number: int
) -> CallFigures:
    """One call, from the offer until the server has forgotten it. What a call that breaks leaves undone is missed."""
    loop = asyncio.get_running_loop()
    taken_before, began_at = server.processor_sec(), loop.time()
    connect_sec, turns = None, list[TurnFigures]()
    try:
        async with Caller.connect(server.url, dialect=system.dialect, session=SESSION) as caller:
            connect_sec = caller.connect_sec
            emulate(caller.ice, uplink, seed=number, way_back=CLEAN)  # the call is up: this is about its sound
            await asyncio.sleep(SETTLE_SEC)
            async for turn in _turns(caller, plan, seed=number):
                turns.append(turn)
    except AntiphonError as error:
        sys.stderr.write(f"{system.name}: {error}\n")
        turns += [MISSED] * (plan.turns - len(turns))
    await asyncio.sleep(SETTLE_SEC)
    return CallFigures(
        system=system.name,
        uplink=uplink.name,
        round=number,
        connect_ms=None if connect_sec is None else connect_sec * 1000,
        duration_sec=loop.time() - began_at,
        processor_sec=server.processor_sec() - taken_before,
        turns=tuple(turns),
    )


async def _turns(caller: Caller, plan: Plan, *, seed: int) -> AsyncIterator[TurnFigures]:
    chance = random.Random(seed)  # the same moments for everybody
    for question in islice(cycle(plan.questions), plan.turns):
        lead = np.zeros(int(chance.uniform(0, LONGEST_LEAD_SEC) * MICROPHONE_RATE), np.float32)
        await caller.say(np.concatenate((lead, question.samples)))
        reply = await caller.answered(patience_sec=PATIENCE_SEC, quiet_sec=QUIET_SEC)
        yield judged(reply)
        await asyncio.sleep(chance.uniform(*PAUSE_SEC))


def judged(reply: Reply) -> TurnFigures:
    """What came, taken for an answer only if it is the tone."""
    v2v_ms = None if reply.latency.v2v_sec is None else reply.latency.v2v_sec * 1000
    right = reply.sound is not None and is_tone(reply.sound, reply.latency.reply_sec)
    return TurnFigures(
        v2v_ms=v2v_ms if right else None,
        early=reply.latency.early,
        strange_ms=None if right else v2v_ms,
        reply_ms=reply.latency.reply_sec * 1000,
    )


def is_tone(sound: AudioChunk, duration_sec: float) -> bool:
    """Whether its loudest frequency is that of the tone from the first 20 ms on, and it is more than a click."""
    loud = np.flatnonzero(np.abs(sound.samples) > 0.01)
    if not len(loud) or duration_sec < LEAST_TONE_SEC:
        return False
    beginning = sound.samples[loud[0] :][: sound.sample_rate // 50]
    spectrum = np.abs(np.fft.rfft(beginning * np.hanning(len(beginning)), sound.sample_rate))  # one bin is one hertz
    return bool(abs(int(np.argmax(spectrum)) - TONE_HZ) <= CLOSE_TO_TONE_HZ)


# -- what came out ---------------------------------------------------------------------------------------------------


def line(figures: CallFigures) -> str:
    return f"[dim]{figures.round}[/] {figures.system:<9} {figures.uplink:<9} {' '.join(map(_turn, figures.turns))}"


def _turn(turn: TurnFigures) -> str:
    if turn.strange_ms is not None:
        return f"[red]{turn.strange_ms:.0f} for {turn.reply_ms:.0f} ms[/]"
    return _figure(turn.v2v_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All calls to one system over one uplink."""

    system: str
    uplink: str
    turns: int
    median_ms: float | None
    p95_ms: float | None
    missed: int
    early: int
    strange: int
    connect_ms: float | None  # median
    processor_sec: float  # of the server, median of a call
    processor_percent: float  # of a core, over all calls


def summary(calls: Sequence[CallFigures]) -> Summary:
    turns = [turn for figures in calls for turn in figures.turns]
    waits = quantiles([turn.v2v_ms for turn in turns if turn.v2v_ms is not None])
    connects = quantiles([figures.connect_ms for figures in calls if figures.connect_ms is not None])
    return Summary(
        system=calls[0].system,
        uplink=calls[0].uplink,
        turns=len(turns),
        median_ms=waits and waits.median,
        p95_ms=waits and waits.p95,
        missed=sum(turn.v2v_ms is None for turn in turns),
        early=sum(turn.early for turn in turns),
        strange=sum(turn.strange_ms is not None for turn in turns),
        connect_ms=connects and connects.median,
        processor_sec=float(np.median([figures.processor_sec for figures in calls])),
        processor_percent=100 * sum(f.processor_sec for f in calls) / sum(f.duration_sec for f in calls),
    )


def summaries(calls: Iterable[CallFigures]) -> dict[tuple[str, str], Summary]:
    groups: dict[tuple[str, str], list[CallFigures]] = {}
    for figures in calls:
        groups.setdefault((figures.uplink, figures.system), []).append(figures)
    return {key: summary(groups[key]) for key in sorted(groups, key=lambda key: key[0] != CLEAN.name)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Antiphon's median divided by another's, in all and in each round."""

    uplink: str
    other: str
    ratio: float
    rounds: tuple[float, ...]
    target: float

    @property
    def met(self) -> bool:
        return self.ratio <= self.target


def ratios(called: Sequence[System], calls: Sequence[CallFigures]) -> list[Ratio]:
    found = []
    for uplink in UPLINKS:
        for other in called[1:]:
            ratio = _ratio(calls, uplink, other)
            in_rounds = (
                _ratio([figures for figures in calls if figures.round == number], uplink, other)
                for number in sorted({figures.round for figures in calls})
            )
            if ratio is not None:
                rounds = tuple(value for value in in_rounds if value is not None)
                target = other.target[uplink.name]
                found.append(Ratio(uplink=uplink.name, other=other.name, ratio=ratio, rounds=rounds, target=target))
    return found


def _ratio(calls: Sequence[CallFigures], uplink: NetworkProfile, other: System) -> float | None:
    own, others = (_median(calls, uplink, name) for name in ("Antiphon", other.name))
    return None if own is None or others is None else own / others


def _median(calls: Sequence[CallFigures], uplink: NetworkProfile, system: str) -> float | None:
    chosen = [figures for figures in calls if (figures.system, figures.uplink) == (system, uplink.name)]
    return summary(chosen).median_ms if chosen else None


def figures_table(found: Iterable[Summary]) -> Table:
    table = Table(title="End of speech to first sound of the tone, in ms", title_justify="left")
    table.add_column("uplink")
    table.add_column("server")
    for heading in (
        "turns",
        "median",
        "p95",
        "missed",
        "early",
        "not the tone",
        "connect",
        "CPU s a call",
        "of a core",
    ):
        table.add_column(heading, justify="right")
    for each in found:
        median, p95, connect = map(_figure, (each.median_ms, each.p95_ms, each.connect_ms))
        counts = tuple(map(str, (each.missed, each.early, each.strange)))
        processor = (f"{each.processor_sec:.2f}", f"{each.processor_percent:.1f} %")
        table.add_row(each.uplink, each.system, str(each.turns), median, p95, *counts, connect, *processor)
    return table


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def ratios_table(found: Iterable[Ratio]) -> Table:
    table = Table(title="Antiphon divided by the other, medians", title_justify="left")
    for heading in ("uplink", "other", "ratio", "by round", "target", ""):
        table.add_column(heading)
    for each in found:
        rounds = " ".join(f"{value:.2f}" for value in each.rounds)
        verdict = "met" if each.met else "[red]missed[/]"
        table.add_row(each.uplink, each.other, f"{each.ratio:.2f}", rounds, f"≤ {each.target}", verdict)
    return table


# -- the program -----------------------------------------------------------------------------------------------------


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipecat", type=Path, metavar="PYTHON", help="the Python of Pipecat's environment")
    parser.add_argument("--fastrtc", type=Path, metavar="PYTHON", help="the Python of FastRTC's environment")
    parser.add_argument("--calls", type=int, default=3, help="calls to each server over each uplink (default 3)")
    parser.add_argument("--turns", type=int, default=6, help="turns in each call (default 6)")
    parser.add_argument("--speech", type=Path, nargs="+", metavar="WAV", help="what to say instead of three sentences")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file")
    return parser.parse_args()


def main() -> None:
    arguments, console = parsed(), Console(width=WIDTH)
    questions = list(map(recorded, arguments.speech)) if arguments.speech else list(synthesised(SENTENCES))
    called, beside = systems(arguments), conditions()
    calls = uvloop.run(compare(called, Plan(questions, arguments.calls, arguments.turns), console))
    found, compared = summaries(calls), ratios(called, calls)
    console.print(figures_table(found.values()), ratios_table(compared), f"[dim]{beside} at the start[/]")
    if arguments.json:
        report = {"conditions": beside, "summaries": found.values(), "ratios": compared, "calls": calls}
        arguments.json.write_text(json.dumps(_plain(report), indent=2) + "\n", encoding="utf-8")


def _plain(report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: asdict(value) if name == "conditions" else [asdict(each) for each in value]
        for name, value in report.items()
    }


if __name__ == "__main__":
    try:
        main()
    except AntiphonError as error:
        sys.exit(str(error))
