"""A latency test for any server that takes calls over WebRTC, told by the caller's own ears and clock.

What V2V is here: from the moment the last audible sample of the question passed the microphone until the first audible
sample of the reply could be played by a player without a buffer. A microphone gives its sound in frames of 20 ms, and
a frame can leave only when it is full. So V2V includes: the rest of that last frame (0 to 20 ms, 10 on average), the
encoder's look-ahead of 6.5 ms, the network, all that the server does, its own frames, the network again, what the
jitter buffer waits here, and the decoder. It does not include what a sound card takes on both ways, nor the time that
a player's own buffer would add.

What connecting is here: from the making of the offer until sound could flow, the HTTP request of it included. A bad
network that is put in between lies in the way of everything but that request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, cycle, islice
from random import Random
from typing import Any

import numpy as np
from rich.markup import escape

from edge_client.caller.client import Caller, warm_up
from edge_client.caller.dialect import Dialect
from edge_client.caller.line import Network
from edge_client.caller.loudness import speech_span
from edge_client.caller.microphone import MICROPHONE_RATE
from edge_client.caller.packets import Packets
from edge_client.caller.probe_report import ProbeConditions, ProbedCall, ProbedTurn, ProbeReport, turn_line
from edge_client.caller.question import Question
from edge_client.caller.report import Conditions
from edge_client.caller.spoken import Reply
from edge_client.loop_lag import LoopLag, watch_loop
from edge_client.network.profile import NetworkProfile
from routing.errors import BackendError, InvalidRequest

SETTLE_SEC = 1.0  # between connecting and the first question: some servers start their work only then
BETWEEN_CALLS_SEC = 0.5  # for servers that take one call at a time, and notice its end a little later

# Every question begins somewhere else within the frames of packets, of voice detectors, and of servers that judge sound
# in long pieces: always at the same place, it would measure one case of many.
LONGEST_LEAD_SEC = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePlan:
    """Whom to call, how often, and over which network."""

    url: str
    dialect: Dialect
    key: str | None = None
    model: str | None = None
    calls: int = 1
    turns: int = 5
    at_once: int = 1
    network: NetworkProfile | None = None
    seed: int = 1
    silence_ms: int | None = None  # after which the server shall take a turn for over
    patience_sec: float = 10.0  # for a reply to begin
    quiet_sec: float = 1.0  # after which it is over

    def __post_init__(self) -> None:
        if not self.dialect.has_events and (self.silence_ms is not None or self.model):
            raise InvalidRequest(
                f"expected no model and no silence for {self.dialect.name}: only an openai server can be asked for them"
            )

    @property
    def session(self) -> Mapping[str, Any] | None:
        """What to ask of the server, if anything."""
        if self.silence_ms is None:
            return None
        detection = {"type": "server_vad", "silence_duration_ms": self.silence_ms}
        return {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}

    def network_of(self, call: int) -> Network | None:
        """Each call has bad luck of its own, and the same one every time."""
        return Network(self.network, self.seed * 1000 + call) if self.network else None


@dataclass(slots=True)
class _Call:
    """A call that may still go on."""

    number: int
    connect_ms: float | None = None
    turns: list[ProbedTurn] = field(default_factory=list)
    resumed: int = 0
    fault: str | None = None

    def probed(self) -> ProbedCall:
        return ProbedCall(
            number=self.number,
            connect_ms=self.connect_ms,
            turns=tuple(self.turns),
            resumed=self.resumed,
            fault=self.fault,
        )


class Probe:
    """Makes the calls; `report` tells what was found until now. ``tell`` gets a line of markup for each news.

    Raises:
        InvalidRequest: there is no speech in a question.
    """

    def __init__(self, plan: ProbePlan, questions: Sequence[Question], *, tell: Callable[[str], None]) -> None:
        for question in questions:
            if speech_span(question.samples, MICROPHONE_RATE) is None:
                raise InvalidRequest(f"expected speech in {question.text}, got silence")
        self._plan = plan
        self._questions = questions
        self._tell = tell
        self._numbers = iter(range(1, plan.calls + 1))
        self._calls: list[_Call] = []
        self._lag = LoopLag()  # of the last minute
        self._worst_lag_sec = 0.0

    async def run(self) -> None:
        """Make all calls. What the network does to them is part of the result.

        Raises:
            BackendUnavailable, AtCapacity, InvalidRequest: there is no call to be had; the message says why.
        """
        await warm_up()
        async with _watched(self._lag):
            try:
                async with asyncio.TaskGroup() as lines:
                    for _ in range(min(self._plan.at_once, self._plan.calls)):
                        lines.create_task(self._use_line())
            except ExceptionGroup as faults:
                raise faults.exceptions[0] from None

    async def _use_line(self) -> None:
        """One call after the other, until all were made."""
        for place, number in zip(count(), self._numbers, strict=False):
            if place:
                await asyncio.sleep(BETWEEN_CALLS_SEC)
            await self._call(_Call(number))

    async def _call(self, call: _Call) -> None:
        self._calls.append(call)
        try:
            await self._converse(call)
        except BackendError as fault:
            call.fault = str(fault)
            if self._is_hopeless:
                self._calls.clear()
                raise
            self._miss_the_rest(call)
        except InvalidRequest:  # it never was a call
            self._calls.remove(call)
            raise

    @property
    def _is_hopeless(self) -> bool:
        """Whether there is nobody to call: a call that fails on a network made bad is a result."""
        return self._plan.network is None and all(call.fault and call.connect_ms is None for call in self._calls)

    async def _converse(self, call: _Call) -> None:
        plan, refusals = self._plan, list[str]()
        async with Caller.connect(
            plan.url,
            key=plan.key,
            model=plan.model,
            session=plan.session,
            on_event=lambda event: refusals.extend(_refusals(event)),
            dialect=plan.dialect,
            network=plan.network_of(call.number),
            reporting=False,  # nobody shall be treated otherwise for being known
        ) as caller:
            assert caller.connect_sec is not None
            call.connect_ms = caller.connect_sec * 1000
            self._tell(f"[dim]{call.number:>4}[/]    connected in {call.connect_ms:.0f} ms")
            await asyncio.sleep(SETTLE_SEC)
            if plan.session and refusals:  # what is measured would not be what was asked for
                raise InvalidRequest(
                    f"expected turns to end after {plan.silence_ms} ms, the server said: {refusals[0]}"
                )
            for question in self._asked(call):
                turn = await self._ask(caller, question)
                call.resumed = caller.resumed
                self._note(call, turn)

    def _asked(self, call: _Call) -> Iterator[Question]:
        """The questions of one call, each after a silence of its own."""
        random = Random(f"{self._plan.seed} {call.number}")
        for question in islice(cycle(self._questions), self._plan.turns):
            lead = np.zeros(int(random.uniform(0, LONGEST_LEAD_SEC) * MICROPHONE_RATE), np.float32)
            yield Question(question.text, np.concatenate((lead, question.samples)))

    async def _ask(self, caller: Caller, question: Question) -> ProbedTurn:
        before = caller.packets()
        await caller.say(question.samples)
        reply = await caller.answered(patience_sec=self._plan.patience_sec, quiet_sec=self._plan.quiet_sec)
        return probed_turn(question.text, reply, caller.packets() - before)

    def _note(self, call: _Call, turn: ProbedTurn) -> None:
        call.turns.append(turn)
        self._worst_lag_sec = max(self._worst_lag_sec, self._lag.statistics().worst_sec)
        self._tell(turn_line(f"{call.number}.{len(call.turns)}", turn))

    def _miss_the_rest(self, call: _Call) -> None:
        """What could not be asked or heard any more is missed."""
        assert call.fault is not None
        self._tell(f"[dim]{call.number:>4}[/]    [red]{escape(call.fault)}[/]")
        missed = islice(cycle(self._questions), len(call.turns), self._plan.turns)
        call.turns += [ProbedTurn(question=question.text, errors=(call.fault,)) for question in missed]

    def report(self, machine: Conditions) -> ProbeReport:
        """What was found until now; ``machine`` are the conditions when it began."""
        plan = self._plan
        return ProbeReport(
            conditions=ProbeConditions(
                url=plan.url,
                dialect=plan.dialect.name,
                network=plan.network.name if plan.network else None,
                silence_ms=plan.silence_ms,
                at_once=plan.at_once,
                machine=machine,
            ),
            calls=[call.probed() for call in sorted(self._calls, key=lambda call: call.number)],
            own_lag_ms=self._worst_lag_sec * 1000,
        )


def _refusals(event: object) -> Iterator[str]:
    match event:
        case {"type": "error", "error": {"message": str(message)}}:
            yield message


@asynccontextmanager
async def _watched(lag: LoopLag) -> AsyncIterator[None]:
    watching = asyncio.create_task(watch_loop(lag))
    try:
        yield
    finally:
        watching.cancel()


def probed_turn(question: str, reply: Reply, packets: Packets) -> ProbedTurn:
    """What was measured of one turn, without what only some servers tell."""
    latency = reply.latency
    return ProbedTurn(
        question=question,
        v2v_ms=None if latency.v2v_sec is None else latency.v2v_sec * 1000,
        early=latency.early,
        reply_ms=latency.reply_sec * 1000,
        longest_pause_ms=latency.longest_pause_sec * 1000,
        gaps=latency.gaps,
        starved_ms=latency.starved_sec * 1000,
        packets=packets,
        answer=reply.answer,
        errors=reply.errors,
    )
