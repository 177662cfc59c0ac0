"""One call of the load: dial, ask and listen as planned, and tell what it was like. It never ends the others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from edge_client.caller.client import SESSION, Caller, OnEvent
from edge_client.caller.packets import Packets
from edge_client.caller.question import Question
from edge_client.caller.spoken import Reply
from edge_client.load.news import CallBegan, CallConnected, CallEnded, Fault, LoadedTurn, News
from edge_client.load.output_steps import OutputSteps
from edge_client.load.plan import CallPlan, LoadPlan, draw_call
from edge_client.load.socket_caller import SocketCaller
from routing.errors import AntiphonError, AtCapacity, BackendUnavailable, InvalidRequest

logger = logging.getLogger(__name__)

SETTLE_SEC: Final = 0.5  # between connecting and the first question
LONGEST_MESSAGE: Final = 300  # characters of what is kept of a fault

type Tell = Callable[[News], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How all calls of a run are made; moments are told in seconds since ``began_at`` of the monotonic clock."""

    plan: LoadPlan
    key: str | None
    questions: Sequence[Question]
    began_at: float
    tell: Tell

    def now(self) -> float:
        return time.monotonic() - self.began_at

    @property
    def is_over(self) -> bool:
        """Whether nothing is begun any more."""
        return self.plan.duration_sec is not None and self.now() > self.plan.duration_sec

    @property
    def left_sec(self) -> float:
        """Until nothing is begun any more."""
        return float("inf") if self.plan.duration_sec is None else self.plan.duration_sec - self.now()

    def dial(self, on_event: OnEvent) -> AbstractAsyncContextManager[Caller | SocketCaller]:
        plan = self.plan
        session = SESSION if plan.session is None else plan.session
        connect = partial(Caller.connect, relayed=plan.relayed) if plan.transport == "webrtc" else SocketCaller.connect
        return connect(plan.url, key=self.key, model=plan.model, session=session, on_event=on_event)


class HeldCall:
    """Made for one number; `hold` is its whole life."""

    def __init__(self, number: int, line: Line) -> None:
        self._number = number
        self._line = line
        self._call: CallPlan = draw_call(line.plan, number)
        self._done = 0
        self._steps = OutputSteps()
        self._before = Packets()

    async def hold(self) -> None:
        """Make the call. What goes wrong is told, and raises nothing."""
        line = self._line
        line.tell(CallBegan(call=self._number, at_sec=line.now(), listening=self._call.listen_sec is not None))
        caller: Caller | SocketCaller | None = None
        try:
            async with line.dial(self._note) as caller:
                await self._converse(caller)
        except asyncio.CancelledError:
            self._end(caller, broken_off=True)
            raise
        except AntiphonError as fault:
            self._end(caller, **_what_went_wrong(fault, caller), **self._unasked(caller))
        except Exception as bug:  # of this call's only
            logger.exception("call %d failed", self._number)
            message = f"{type(bug).__name__}: {bug}"[:LONGEST_MESSAGE]
            self._end(caller, fault="failed", message=message, **self._unasked(caller))
        else:
            self._end(caller)

    def _end(self, caller: Caller | SocketCaller | None, **how: Any) -> None:
        self._line.tell(CallEnded(call=self._number, at_sec=self._line.now(), **_sound(caller), **how))

    def _note(self, event: Mapping[str, Any]) -> None:
        self._steps.feed(event, time.monotonic())

    async def _converse(self, caller: Caller | SocketCaller) -> None:
        line = self._line
        assert caller.connect_sec is not None
        line.tell(CallConnected(call=self._number, at_sec=line.now(), connect_ms=caller.connect_sec * 1000))
        if self._call.listen_sec is not None:
            await caller.stay(min(self._call.listen_sec, line.left_sec))
            return
        await caller.stay(SETTLE_SEC)
        async with aclosing(self._questions(caller)) as questions:
            async for question in questions:
                line.tell(await self._ask(caller, question))

    async def _questions(self, caller: Caller | SocketCaller) -> AsyncGenerator[Question]:
        """One after the other, with time to think in between, each call beginning with another one."""
        questions = self._line.questions
        for index in range(self._call.turns):
            if self._line.is_over:
                return
            yield questions[(self._number + index) % len(questions)]
            self._done += 1
            await caller.stay(min(next(self._call.thinking), max(self._line.left_sec, 0.0)))

    async def _ask(self, caller: Caller | SocketCaller, question: Question) -> LoadedTurn:
        self._steps = steps = OutputSteps()
        spoken = await caller.say(question.samples)
        reply = await caller.reply(self._line.plan.patience_sec)
        assert spoken.speech is not None
        packets = caller.packets()
        since, self._before = packets - self._before, packets
        return _loaded_turn(self._number, reply, steps, since, at_sec=spoken.speech.end - self._line.began_at)

    def _unasked(self, caller: object) -> dict[str, Any]:
        """Whoever never got through asked nothing of anybody."""
        if caller is None or self._call.listen_sec is not None:
            return {}
        return {"unasked": 1 if self._line.plan.lasting else self._call.turns - self._done}


def _loaded_turn(number: int, reply: Reply, steps: OutputSteps, packets: Packets, *, at_sec: float) -> LoadedTurn:
    latency, told = reply.latency, reply.numbers
    return LoadedTurn(
        call=number,
        at_sec=at_sec,
        v2v_ms=_ms(latency.v2v_sec),
        early=latency.early,
        ttfa_ms=_ms(steps.ttfa_sec(reply.heard_at)),
        server_ttfa_ms=told.ttfa_ms,
        endpoint_wait_ms=told.endpoint_wait_ms,
        tpot_ms=_ms(steps.tpot_sec),
        steps=steps.count,
        gaps=latency.gaps,
        starved_ms=latency.starved_sec * 1000,
        lost=packets.lost,
        concealed=packets.concealed,
        errors=tuple(error[:LONGEST_MESSAGE] for error in reply.errors),
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _sound(caller: Caller | SocketCaller | None) -> dict[str, Any]:
    if caller is None:
        return {}
    packets = caller.packets()
    return {"resumed": caller.resumed, "lost": packets.lost, "concealed": packets.concealed}


def _what_went_wrong(fault: AntiphonError, caller: object) -> dict[str, Any]:
    kind: Fault
    match fault:
        case AtCapacity():
            kind = "full"
        case InvalidRequest():
            kind = "refused"
        case BackendUnavailable():
            kind = "unreachable" if caller is None else "cut off"
        case _:
            kind = "failed"
    told = {"fault": kind, "message": str(fault)[:LONGEST_MESSAGE]}
    return told | ({"retry_after_sec": fault.retry_after_sec} if isinstance(fault, AtCapacity) else {})
