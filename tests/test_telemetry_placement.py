"""Decisions as spans, and turns of a router as one trace: who was asked, who spoke, who lost, who went on for whom."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from routing.contender import Contender
from routing.errors import BackendUnavailable
from routing.outlook import Outlook
from routing.policy import Question
from routing.record import PlacementRecord
from routing.router import Router
from routing.settings import RoutingSettings
from routing.telemetry import names
from routing.telemetry.finished_span import FinishedSpan
from routing.telemetry.placement import decision_phase, parent_of
from routing.telemetry.traced_backend import OpenTurns, TracedBackend
from routing.turns import Heard
from tests.contenders import END, NEVER, SPEECH, TURN, Step, Timed, Told, in_order, read, sound
from tests.placements import CHOICE, record
from tests.traced import Tracing
from tests.virtual_time import on_virtual_time

HEARD = Heard("hello there", is_final=True)

# -- a record as a phase -----------------------------------------------------------------------------------------------


def test_a_decision_tells_what_was_known_what_was_chosen_and_what_came_of_it() -> None:
    phase = decision_phase(replace(record(), decided_at=100.0, decided_sec=0.00004))
    assert (phase.name, phase.begin) == ("route.decide", 100.0)
    assert phase.duration_sec == pytest.approx(0.00004)
    assert phase.error is None
    told = {name: value for name, value in phase.attributes.items() if value is not None}
    assert told == {
        "session.id": "session-1",
        "gen_ai.conversation.id": "session-1",
        "voice.turn.id": "turn-1",
        "voice.turn.index": 3,
        "voice.route.question": (),
        "voice.speech.duration": 1.5,
        "voice.device.load": 0.4,
        "voice.device.battery": 0.8,
        "voice.route.words_wait_ms": 0,
        "voice.route.ready.device": False,
        "voice.route.failure.device": 0.0,
        "voice.route.ready.cloud": False,
        "voice.route.failure.cloud": 0.0,
        "voice.route.rtt.cloud_ms": 50,
        "voice.route.queue_wait.cloud_ms": 0,
        "voice.route.policy": "hedged",
        "voice.route.first": "cloud",
        "voice.route.second": "device",
        "voice.route.reason": CHOICE.reason,
        "voice.route.patience_ms": 200,
        "voice.route.estimate.device_ms": 100,
        "voice.route.estimate.cloud_ms": 200,
        "voice.route.target": "device",
        "voice.route.ended": "told",
        "voice.route.first_sound_ms": 100,
        "voice.route.regret_ms": 50,
        "voice.route.opened": ("device", "cloud"),
        "voice.route.switches": ("device for cloud: too late",),
        "voice.route.arrival.device_ms": 100,
        "voice.route.arrival.cloud_ms": 300,
        "voice.route.waste.cloud_ms": 300,
    }


def test_a_question_is_told_by_its_kind_and_one_who_was_passed_over_by_the_reason() -> None:
    question = Question(speech_sec=1, stays_here=True, wants_knowledge=True)
    choice = replace(CHOICE, passed_over={"cloud": "the turn stays on the device"})
    attributes = decision_phase(record(question=question, choice=choice)).attributes
    assert attributes[names.ROUTE_QUESTION] == ("private", "knowledge")
    assert attributes["voice.route.why_not.cloud"] == "the turn stays on the device"


def test_where_nobody_could_answer_the_decision_failed() -> None:
    assert decision_phase(record(backend=None, first_sound_sec=None)).error == "nobody could answer"


def test_without_a_trace_a_decision_has_no_parent() -> None:
    assert parent_of(record()) == {"traceparent": record().traceparent}
    assert parent_of(replace(record(), traceparent="")) == {}


# -- a turn as a trace -------------------------------------------------------------------------------------------------


class Stage:
    """A router whose contenders and decisions are traced, as at an edge."""

    def __init__(self, *backends: Timed) -> None:
        self.tracing = Tracing.begun()
        self.told = Told()
        open_turns = OpenTurns()
        traced = [
            TracedBackend(backend, spans=self.tracing.spans, is_remote=backend.traits.is_remote, open_turns=open_turns)
            for backend in backends
        ]
        self.router = Router(
            [
                Contender(each, Outlook(each.name, backend.traits))
                for each, backend in zip(traced, backends, strict=True)
            ],
            settings=RoutingSettings(),
            choose=in_order("cloud", "device"),
            on_placed=self._note,
        )

    def _note(self, placed: PlacementRecord) -> None:
        self.told.records.append(placed)
        self.tracing.spans.write([decision_phase(placed)], parent=parent_of(placed))

    async def turn(self, *, pauses_sec: tuple[float, ...] = (), paced: bool = False) -> Told:
        """A second of speech, asked for at each pause after which the user went on, and at the turn's end."""
        loop = asyncio.get_running_loop()
        async with self.router.open(self.tracing.turn(TURN), on_heard=lambda _: None) as exchange:
            await asyncio.sleep(1.0)
            exchange.feed(SPEECH)
            for pause_sec in pauses_sec:
                reply = exchange.reply()
                reading = asyncio.create_task(anext(reply))
                await asyncio.sleep(pause_sec)
                reading.cancel()
                await asyncio.wait([reading])
                await reply.aclose()
                exchange.feed(SPEECH)
            loop.call_later(0.1, exchange.commit)
            await read(exchange, self.told, paced=paced)
        self.tracing.check()
        return self.told

    def of(self, name: str) -> list[FinishedSpan]:
        return self.tracing.named(name)


def device(*steps: Step) -> Timed:
    return Timed("device", *(steps or (0.05, HEARD, 0.05, "Device.", sound(1), END)))


def outcomes(spans: list[FinishedSpan]) -> list[object]:
    return [span.attributes[names.ATTEMPT_OUTCOME] for span in spans]


@on_virtual_time
async def test_a_hedged_turn_is_one_trace_in_which_the_loser_is_seen() -> None:
    stage = Stage(device(), Timed("cloud", 0.2, "Cloud.", sound(1), END))
    told = await stage.turn()
    assert told.voices == ["cloud"]
    assert stage.tracing.tree() == [
        "infer.request",
        "  infer.attempt",
        "generate_content device",
        "  transcribe",
        "  decode.first_text",
        "  decode.first_audio",
        "route.decide",
    ]
    assert outcomes(stage.of("infer.request")) == ["told"]
    assert outcomes(stage.of("generate_content device")) == ["rolled_back"]
    (decision,) = stage.of("route.decide")
    assert decision.attributes[names.ROUTE_TARGET] == "cloud"
    assert decision.attributes[f"{names.ROUTE_WASTE}device_ms"] == 100
    assert decision.begin_ns == stage.tracing.spans.clock.epoch_ns(1.1)


@on_virtual_time
async def test_a_cloud_that_is_late_has_lost() -> None:
    stage = Stage(device(), Timed("cloud", NEVER))
    assert (await stage.turn()).voices == ["device"]
    assert outcomes(stage.of("infer.attempt")) == ["rolled_back"]
    assert outcomes(stage.of("generate_content device")) == ["told"]
    (decision,) = stage.of("route.decide")
    assert decision.attributes[names.ROUTE_SWITCHES] == ("device for cloud: too late",)


@on_virtual_time
async def test_a_pause_that_was_none_leaves_an_attempt_behind_that_was_rolled_back() -> None:
    stage = Stage(device())
    await stage.turn(pauses_sec=(0.3, 0.3))
    attempts = stage.of("generate_content device")
    assert [span.attributes[names.ATTEMPT] for span in attempts] == [1, 2, 3]
    assert outcomes(attempts) == ["rolled_back", "rolled_back", "told"]


@on_virtual_time
async def test_who_goes_on_for_another_links_to_it() -> None:
    words = "One is said. Two is not said at all any more, sadly."
    far = Timed("cloud", 0.1, words, sound(1.0), BackendUnavailable("gone"))
    stage = Stage(device(), far)
    told = await stage.turn(paced=True)
    assert told.voices == ["cloud", "device"]
    (request,) = stage.of("infer.request")
    assert request.error == "unavailable"
    lost, script = stage.of("generate_content device")
    assert lost.attributes[names.ATTEMPT_OUTCOME] == "rolled_back"
    assert not lost.links
    assert script.attributes[names.CONTINUES] == "cloud"
    assert script.links == ((request.trace_id, request.span_id),)
    assert script.parent_id == request.parent_id


@on_virtual_time
async def test_where_nobody_answers_every_failure_is_seen() -> None:
    stage = Stage(device(0.05, BackendUnavailable("broken")), Timed("cloud", 0.05, BackendUnavailable("gone")))
    assert (await stage.turn()).error is not None
    failed = [span for span in stage.tracing.written() if span.error]
    assert {span.name for span in failed} == {
        "generate_content device",
        "infer.attempt",
        "infer.request",
        "route.decide",
    }
