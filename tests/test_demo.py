"""The demonstration: its conversation against scripted edges, its judgement, and the whole of it with the real ones."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edge_client.caller.measure import Latency
from edge_client.caller.question import Question
from edge_client.caller.report import TurnReport, report_turn
from edge_client.caller.spoken import Reply
from edge_client.caller.watch import ServerNumbers
from edge_client.demo.cloud_process import Cloud, cloud_starting, kill
from edge_client.demo.conversation import Act, Asked, CloudInPlay, converse
from edge_client.demo.pauses import Pause, deadline_ms, pauses, read_records
from edge_client.demo.programme import Programme
from edge_client.demo.verdict import (
    LEAST_ANSWERED,
    trials,
    verdict,
    verdict_on_pauses,
    verdict_on_places,
    verdict_on_traces,
)
from edge_client.hearing import Hearing
from edge_client.models.thread import ModelThread
from edge_client.network.relay import open_relay
from edge_client.realtime.edge import Edge
from edge_client.realtime.switchboard import open_switchboard
from edge_client.settings import EdgeSettings
from edge_client.trace.archive import Omissions
from edge_client.trace.summary import ExplainedTurn, Summary
from routing.contender import HERE
from routing.errors import BackendUnavailable
from routing.latency import LEVELS, Distribution
from routing.policy import Choice, DeviceState, Prospect
from routing.policy import Question as Asking
from routing.record import Outcome, PlacementRecord, as_json_line
from tests.cloud_server import CloudServer, cloud_server
from tests.edge import RunningEdge, running_edge, served
from tests.scripted import LoudnessDetector, ScriptedBackend, ScriptedJudge, say, tone


def question(text: str, *, synthesised: bool = True) -> Question:
    return Question(text, np.concatenate((np.zeros(2400, np.float32), tone(0.4))), synthesised=synthesised)


def turn(
    transcript: str,
    *,
    answered: bool = True,
    backend: str = "device",
    switches: Sequence[str] = (),
    turn_id: str = "turn",
) -> TurnReport:
    placement = {"backend": backend, "switches": [{"backend": switch} for switch in switches]}
    numbers = ServerNumbers(placement=placement, turn_id=turn_id, timings_ms={"ttfa": 120.0})
    latency = Latency(v2v_sec=0.3 if answered else None, longest_pause_sec=0.2)
    reply = Reply(transcript=transcript, answer="", latency=latency, numbers=numbers, sound=None)
    return report_turn("", reply)


def asked(act: Act, text: str, heard: str | None = None, **fields: object) -> Asked:
    return Asked(act, question(text), turn(text if heard is None else heard, **fields))  # type: ignore[arg-type]


# -- what went wrong -------------------------------------------------------------------------------------------------

GOOD = [
    asked("opening", "What is twelve times seven?", "what is 12 times 7"),
    *(asked("chosen", "What time is it?", backend="cloud") for _ in range(LEAST_ANSWERED)),
    Asked("chosen", question("a person", synthesised=False), turn("it was the best of times")),
]


def test_a_good_conversation_has_no_faults() -> None:
    assert list(verdict(GOOD)) == []


def test_a_barge_in_at_the_end_is_not_judged() -> None:
    assert list(verdict([*GOOD, asked("barge-in", "Stop!", "", answered=False)])) == []


def test_a_wrong_word_is_a_fault() -> None:
    (fault,) = verdict([asked("opening", "What is twelve times seven?", "what is 12 times 11"), *GOOD[1:]])
    assert fault == "expected the words 'What is twelve times seven?', the edge heard 'what is 12 times 11'"


def test_too_few_answers_are_a_fault() -> None:
    unheard = [replace(each, turn=replace(each.turn, v2v_ms=None)) for each in GOOD[:3]]
    assert list(verdict([*unheard, *GOOD[3:]])) == ["expected at least 5 answered turns, got 4"]


def test_an_answer_must_come_whatever_happens_to_the_cloud() -> None:
    (fault,) = verdict([*GOOD, asked("killed", "A story.", "", answered=False)])
    assert "expected an answer to 'A story.'" in fault


def traced(*, unattributed_ms: float) -> Summary:
    """One turn, whose V2V was 300 ms."""
    figures = ExplainedTurn(
        number=1,
        turn_id="turn",
        trace_id="0af7651916cd43dd8448eb211c80319c",
        target="device",
        hedged=False,
        outcome="ok",
        measured="caller",
        v2v_ms=300.0,
        unattributed_ms=unattributed_ms,
    )
    return Summary(turns=(figures,), without={}, unrooted=0, omissions=Omissions(), groups=())


def test_each_answered_turn_must_say_where_its_time_went() -> None:
    assert list(verdict_on_traces(GOOD, traced(unattributed_ms=15.0))) == []
    (fault,) = verdict_on_traces(GOOD[:1], traced(unattributed_ms=18.0))
    assert fault == "expected 95% of V2V to be explained, got 94.0% in turn"
    (missing,) = verdict_on_traces([asked("chosen", "What day is it?", turn_id="another")], traced(unattributed_ms=0.0))
    assert missing.startswith("expected a trace of 'What day is it?'")


DEVICE = Prospect(name="device", traits=HERE, response=Distribution((0.5,) * len(LEVELS)), asked_ago_sec=0.2)


def record(
    *, opened: tuple[str, ...] = ("device",), stays_here: bool = True, patience_sec: float = 0.3
) -> PlacementRecord:
    return PlacementRecord(
        turn_id="turn",
        session_id="session",
        index=0,
        at=0.0,
        policy="hedged",
        question=Asking(speech_sec=1.0, stays_here=stays_here),
        prospects=(DEVICE,),
        device=DeviceState(),
        choice=Choice(first="cloud", second="device", patience_sec=patience_sec, reason="better"),
        committed_after_sec=0.2,
        outcome=Outcome(backend="device", first_sound_sec=0.1, ended="told", opened=opened, arrivals={"device": 0.7}),
    )


PRIVATE = asked("private", "What is five plus six?")


def test_the_cloud_must_have_answered_and_must_not_have_heard_what_is_private() -> None:
    assert list(verdict_on_places([*GOOD, PRIVATE], {"turn": record()})) == []
    (unused,) = verdict_on_places(GOOD[:1], {})
    assert unused == "expected the cloud to answer at least one turn, it answered none"
    (unknown,) = verdict_on_places([*GOOD, PRIVATE], {})
    assert "expected a record" in unknown
    leaks = [record(opened=("device", "cloud")), record(stays_here=False)]
    faults = [fault for leak in leaks for fault in verdict_on_places([*GOOD, PRIVATE], {"turn": leak})]
    assert ["stay on the device" in fault for fault in faults] == [True, True]


# -- pauses ----------------------------------------------------------------------------------------------------------


def test_the_deadline_is_where_the_better_answer_is_given_up_or_the_first_one_came() -> None:
    assert deadline_ms(record(patience_sec=0.9)) == 900
    assert deadline_ms(record(patience_sec=0.3)) == pytest.approx(500)


def test_pauses_of_the_turns_in_which_the_cloud_was_in_trouble() -> None:
    held = [*GOOD, asked("slowed", "Hm?"), asked("killed", "Hm?", turn_id="unknown", switches=["device"])]
    numbers = trials(held)
    found = list(pauses([each.turn for each in held], {"turn": record()}, numbers))
    assert numbers == [8, 9]
    assert [(pause.turn, pause.kind, pause.silent_ms) for pause in found] == [
        (8, "before the reply", 120),
        (9, "where another went on", 200),
    ]
    assert list(verdict_on_pauses(found)) == []
    (fault,) = verdict_on_pauses([Pause(8, "before the reply", 571, 520)])
    assert "turn 8, before the reply: 571 ms, deadline 520 ms" in fault


def test_records_are_found_by_their_turns(tmp_path: Path) -> None:
    file = tmp_path / "placements.jsonl"
    assert read_records(file) == {}
    file.write_text(as_json_line(record()) + "\n")
    assert read_records(file) == {"turn": record()}


# -- the cloud -------------------------------------------------------------------------------------------------------

READY_AT_ONCE = """
print("2026-01-01 INFO ray said something")
print("starting Ray")
print("Antiphon's cloud is ready at ws://127.0.0.1:%s", flush=True)
import time; time.sleep(60)
"""


def python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-c", program)


async def test_a_cloud_comes_while_something_else_goes_on() -> None:
    steps: list[str] = []
    async with cloud_starting(steps.append, command=lambda port: python(READY_AT_ONCE % port)) as coming:
        assert not coming.done()
        cloud = await coming
        with pytest.raises(BackendUnavailable, match="does not tell its processes"):
            await cloud.replicas()
    assert steps == ["starting Ray"]
    assert cloud.url.startswith("ws://127.0.0.1:")


async def test_a_cloud_that_does_not_start_says_why_to_whoever_waits_for_it() -> None:
    failing = python("raise SystemExit('no room for Ray')")
    async with cloud_starting(lambda step: None, command=lambda port: failing) as coming:
        with pytest.raises(BackendUnavailable, match="no room for Ray"):
            await coming


async def test_a_cloud_that_nobody_waited_for_is_stopped() -> None:
    sleeping = python("import time; time.sleep(60)")
    async with cloud_starting(lambda step: None, command=lambda port: sleeping) as coming:
        pass
    assert coming.cancelled()


def test_processes_are_killed_where_they_still_are() -> None:
    with subprocess.Popen(python("import time; time.sleep(60)")) as process:
        kill([process.pid])
        assert process.wait() == -signal.SIGKILL
        kill([process.pid])


# -- the conversation ------------------------------------------------------------------------------------------------

PROGRAMME = Programme(
    opening=(question("What time is it?"),),
    chosen=(),
    private=(question("What is private?"),),
    slowed=(question("What is slow?"),),
    doomed=question("What is doomed?"),
    bereft=(question("What is left?"),),
    long=question("A story."),
    interruption=question("Nine plus six?"),
)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_the_conversation_is_held_saved_and_interrupted(tmp_path: Path, nothing_left_behind: None) -> None:
    backend = ScriptedBackend(
        *[say("noon", seconds=0.3, heard="what time is it")] * 2,
        say("once upon a time", seconds=9, heard="tell me a story"),
        say("fifteen", seconds=0.3, heard="what is nine plus six"),
    )
    programme = PROGRAMME
    console = Console(width=120, no_color=True)
    with console.capture() as capture:
        async with running_edge(backend) as edge:
            held = await converse(edge.url, programme, console, folder=tmp_path)
    turns = [each.turn for each in held]
    assert [each.act for each in held] == ["opening", "private", "barge-in", "barge-in"]
    assert [turn.transcript for turn in turns] == ["what time is it"] * 2 + ["tell me a story", "what is nine plus six"]
    assert [turn.privacy for turn in backend.turns] == ["any", "device_only", "any", "any"]
    assert [turn.cut_ms is not None for turn in turns] == [False, False, False, True]
    assert all(turn.answered for turn in turns)
    assert sorted(await asyncio.to_thread(os.listdir, tmp_path)) == ["01-what-time-is-it.wav", "02-what-is-private.wav"]
    assert "what time is it → noon" in capture.get()


@asynccontextmanager
async def hybrid_edge(cloud_url: str, device: ScriptedBackend) -> AsyncIterator[RunningEdge]:
    """An edge that is real but for its models, with a cloud."""
    settings = EdgeSettings.model_validate({"cloud": {"url": cloud_url, "longest_back_off_sec": 2}})
    with closing(ModelThread("loudness")) as thread:
        hearing = Hearing(LoudnessDetector, thread, ScriptedJudge())
        async with open_switchboard(settings, device) as board:
            edge = Edge(settings=settings, hearing=hearing, backend=board.router, routing=board.statistics)
            async with served(edge) as running:
                yield running


@dataclass(frozen=True, slots=True)
class FragileCloud(Cloud):
    """One whose replica is a process that can be killed; then it answers no more."""

    server: CloudServer
    replica: asyncio.subprocess.Process

    async def replicas(self) -> list[int]:
        return [self.replica.pid]

    async def fall(self) -> None:
        await self.replica.wait()
        self.server.faults.refuse_http = 503
        self.server.cut()


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_the_conversation_goes_on_whatever_becomes_of_the_cloud(
    tmp_path: Path, nothing_left_behind: None
) -> None:
    device = ScriptedBackend(say("at the device", seconds=0.3))
    far = ScriptedBackend(say("in the cloud", seconds=2.0))
    programme = replace(PROGRAMME, chosen=(question("What is chosen?"),) * 2)
    coming: asyncio.Future[Cloud] = asyncio.get_running_loop().create_future()
    replica = await asyncio.create_subprocess_exec(*python("import time; time.sleep(60)"))
    async with cloud_server(far) as server, open_relay() as (relay, address):
        cloud = FragileCloud(server.url, server, replica)
        falling = asyncio.create_task(cloud.fall())
        async with hybrid_edge(f"ws://{address}", device) as edge:
            asyncio.get_running_loop().call_later(1, coming.set_result, cloud)
            console = Console(width=120, no_color=True, quiet=True)
            held = await converse(edge.url, programme, console, folder=tmp_path, cloud=CloudInPlay(coming, relay))
        await falling
    assert [each.act for each in held] == [
        *("opening", "chosen", "chosen", "private", "slowed", "killed", "bereft", "barge-in", "barge-in")
    ]
    assert all(each.turn.answered for each in held)
    speakers = {each.act: each.turn.placed.backends for each in held if each.turn.placed}
    assert speakers["opening"] == speakers["private"] == speakers["bereft"] == ("scripted",)
    assert speakers["chosen"] == ("cloud",)
    assert all(turn.privacy == "any" for turn in far.turns)


# -- the whole -------------------------------------------------------------------------------------------------------


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_the_whole_demonstration_without_a_cloud(tmp_path: Path) -> None:
    """With one it is what `make demo ONCE=1` runs, which continuous integration does."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge_client.cli", "demo", "--once", "--no-cloud"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert b"Start to first answered turn" in output
    assert len(await asyncio.to_thread(os.listdir, tmp_path / "artifacts" / "demo")) >= LEAST_ANSWERED
