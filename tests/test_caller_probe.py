"""The probe against real servers over real WebRTC: an edge, and servers that speak other dialects or fall away."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import numpy as np
import pytest

from edge_client.caller.dialect import FASTRTC, OPENAI, PIPECAT, Dialect
from edge_client.caller.edge_process import edge_process
from edge_client.caller.measure import Interval
from edge_client.caller.microphone import MICROPHONE_RATE, Microphone
from edge_client.caller.probe import Probe, ProbePlan
from edge_client.caller.probe_report import ProbedCall, ProbeReport
from edge_client.caller.question import Question
from edge_client.caller.report import Conditions
from edge_client.network.profile import NetworkProfile
from edge_client.tone import TONE_SEC, TONE_WORDS, ToneBackend
from edge_client.webrtc.opus import FRAME_SEC
from edge_client.webrtc.playout_track import PlayoutTrack
from routing.errors import BackendUnavailable, InvalidRequest
from routing.turns import Samples
from tests.edge import running_edge
from tests.foreign import HANGOVER_SEC, foreign_server
from tests.scripted import tone
from tests.spoken import spoken
from tests.virtual_time import on_virtual_time

HERE = Conditions("Linux x86_64", 2, None)
SPOKEN_SEC = 0.5


@pytest.fixture(autouse=True)
def _servers_that_are_ready_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SETTLE_SEC", "BETWEEN_CALLS_SEC", "LONGEST_LEAD_SEC"):
        monkeypatch.setattr(f"edge_client.caller.probe.{name}", 0.1)


def question(sound: Samples | None = None) -> Question:
    said = tone(SPOKEN_SEC) if sound is None else sound
    return Question("hum", np.concatenate((said, np.zeros(2400, np.float32))))


def plan(url: str, dialect: Dialect = OPENAI, **changes: Any) -> ProbePlan:
    usual: dict[str, Any] = {"turns": 2, "quiet_sec": 0.3, "patience_sec": 10.0}
    return ProbePlan(url=url, dialect=dialect, **(usual | changes))


async def probed(planned: ProbePlan, asked: Question | None = None) -> ProbeReport:
    lines: list[str] = []
    probe = Probe(planned, [asked or question()], tell=lines.append)
    await probe.run()
    report = probe.report(HERE)
    assert len(lines) >= len(report.calls)
    return report


# -- servers ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_an_edge_is_called_several_times_at_once(nothing_left_behind: None) -> None:
    async with running_edge(ToneBackend()) as edge:
        report = await probed(plan(edge.url, calls=3, turns=1, at_once=2, silence_ms=200))
    assert [call.number for call in report.calls] == [1, 2, 3]
    for turn in report.turns:
        assert turn.v2v_ms is not None
        assert turn.v2v_ms > 200
        assert turn.reply_ms > TONE_SEC * 900
        assert (turn.answer, turn.errors, turn.early) == (TONE_WORDS, (), False)
        assert turn.packets.received > 0
    assert report.figures()["misses"] == 0
    assert len(report.connect_ms) == 3


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_bad_network_is_heard_and_told() -> None:
    lossy = NetworkProfile(name="lossy", delay_ms=10, jitter_ms=3, loss=0.06)
    async with running_edge(ToneBackend()) as edge:
        report = await probed(plan(edge.url, network=lossy, silence_ms=300))
    assert report.conditions.network == "lossy"
    packets = report.packets()
    assert packets.lost > 0
    assert packets.recovered + packets.concealed > 0
    assert report.v2v_ms


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(("path", "dialect"), [("/api/offer", PIPECAT), ("/webrtc/offer", FASTRTC)])
async def test_other_dialects_are_measured_by_their_sound_alone(
    path: str, dialect: Dialect, nothing_left_behind: None
) -> None:
    async with foreign_server(path) as server:
        report = await probed(plan(server.url, dialect))
    assert server.channels == [dialect.channel]
    assert set(server.messages) == ({dialect.keep_alive} if dialect.keep_alive else set())
    assert [offer["type"] for offer in server.offers] == ["offer"]
    assert all(turn.v2v_ms and turn.v2v_ms > HANGOVER_SEC * 1000 for turn in report.turns)
    assert report.totals()["answered"] == 2


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_turn_that_nobody_answers_is_a_miss() -> None:
    async with foreign_server("/api/offer", answers=1) as server:
        report = await probed(plan(server.url, PIPECAT, patience_sec=1.5))
    assert [turn.missed for turn in report.turns] == [False, True]
    assert report.calls[0].fault is None


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_call_that_ends_misses_what_is_left_of_it() -> None:
    async with foreign_server("/api/offer", answers=1, hangs_up=True) as server:
        report = await probed(plan(server.url, PIPECAT, turns=3))
    (call,) = report.calls
    assert call.fault == "the other side has ended the call"
    assert [turn.missed for turn in call.turns] == [False, True, True]
    assert call.turns[-1].errors == (call.fault,)


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_call_that_a_bad_network_prevents_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_client.caller.line.CONNECT_TIMEOUT_SEC", 0.5)
    async with foreign_server("/api/offer") as server:
        report = await probed(plan(server.url, PIPECAT, network=NetworkProfile(name="dead", loss=1.0)))
    (call,) = report.calls
    assert call == ProbedCall(number=1, turns=call.turns, fault=call.fault)
    assert "cannot be reached by UDP" in (call.fault or "")
    assert report.figures()["misses"] == 2


async def test_where_nobody_takes_calls_there_is_nothing_to_report() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    probe = Probe(plan(f"127.0.0.1:{port}", calls=3, at_once=3), [question()], tell=lambda line: None)
    with pytest.raises(BackendUnavailable, match="nobody takes calls"):
        await probe.run()
    assert not probe.report(HERE).calls


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_silence_that_the_server_refuses_is_not_taken_for_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_client.caller.probe.SETTLE_SEC", 1.0)  # the server's word takes its time
    async with running_edge(ToneBackend()) as edge:
        with pytest.raises(InvalidRequest, match=r"turns to end after 99999 ms, the server said: .*10000"):
            await probed(plan(edge.url, silence_ms=99_999))


async def test_a_call_that_is_refused_is_no_result() -> None:
    async with running_edge(api_keys=["secret"]) as edge:
        probe = Probe(plan(edge.url), [question()], tell=lambda line: None)
        with pytest.raises(InvalidRequest, match="answered 401"):
            await probe.run()
    assert probe.report(HERE).calls == []


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_what_was_measured_until_it_was_stopped_is_kept() -> None:
    async with foreign_server("/api/offer") as server:
        answered = asyncio.Event()
        probe = Probe(plan(server.url, PIPECAT, turns=50), [question()], tell=lambda line: note(line, answered))
        running = asyncio.create_task(probe.run())
        await answered.wait()
        running.cancel()
        await asyncio.wait([running])
    assert running.cancelled()
    assert len(probe.report(HERE).v2v_ms) == 1


def note(line: str, answered: asyncio.Event) -> None:
    if "V2V" in line:
        answered.set()


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.timeout(120)
async def test_the_program_with_the_tone_engine_answers_speech() -> None:
    speech = await asyncio.to_thread(spoken, "What time is it?")
    async with edge_process(arguments=("--engine", "tone")) as edge:
        report = await probed(plan(edge.url, silence_ms=200), question(speech))
    assert [turn.answer for turn in report.turns] == [TONE_WORDS] * 2
    assert report.totals()["answered"] == 2


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_full_server_refuses_some_calls_and_answers_the_others() -> None:
    async with running_edge(ToneBackend(), maximum_sessions=1) as edge:
        report = await probed(plan(edge.url, calls=3, turns=1, at_once=3))
    assert sorted(call.fault is None for call in report.calls) == [False, False, True]
    assert report.figures()["misses"] == 2


# -- plans -----------------------------------------------------------------------------------------------------------


def test_only_an_openai_server_can_be_asked_for_anything() -> None:
    assert plan("a").session is None
    detection = {"type": "server_vad", "silence_duration_ms": 250}
    assert plan("a", silence_ms=250).session == {
        "type": "realtime",
        "audio": {"input": {"turn_detection": detection}},
    }
    for wish in ({"silence_ms": 250}, {"model": "gpt"}):
        with pytest.raises(InvalidRequest, match="only an openai server"):
            plan("a", PIPECAT, **wish)


def test_a_question_without_speech_is_refused_before_anybody_is_called() -> None:
    with pytest.raises(InvalidRequest, match="expected speech in hum, got silence"):
        Probe(plan("a"), [question(np.zeros(4800, np.float32))], tell=lambda line: None)


def test_chance_is_the_same_for_the_same_seed_and_another_for_each_call() -> None:
    lossy = NetworkProfile(name="lossy", loss=0.1)
    networks = [plan("a", network=lossy, seed=seed).network_of(call) for seed in (1, 1, 2) for call in (1, 2)]
    assert networks[:2] == networks[2:4]
    assert len({network.seed for network in networks if network}) == 4


# -- what the probe itself adds --------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_question_leaves_with_the_frame_that_ends_it() -> None:
    clock = asyncio.get_running_loop().time
    microphone = Microphone(clock)
    track = PlayoutTrack(microphone.read)
    spoken: list[Interval] = []
    microphone.say(tone(0.1 + 0.5 * FRAME_SEC), spoken.append)
    while not spoken:
        await track.recv()
    assert clock() - spoken[0].end == pytest.approx(0.5 * FRAME_SEC, abs=1e-6)
    assert spoken[0].duration == pytest.approx(0.11, abs=1 / MICROPHONE_RATE)
