"""One contender's answer, read ahead of whoever may speak."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import aclosing

from routing.allowance import Allowance
from routing.contender import Contender
from routing.errors import AtCapacity, BackendError, BackendUnavailable, InvalidRequest, UnsuitedTurn
from routing.settings import RoutingSettings
from routing.turns import AudioChunk, Exchange, Heard, Placement, ReplyEnd, ReplyEvent, TextDelta, Turn
from routing.voiced import is_first

logger = logging.getLogger(__name__)

type Fault = BackendError | InvalidRequest


class Track:
    """A reply that was asked for, as it arrives, and the times that its contender's outlook learns from.

    It is read no further than the user's words until it ``is_wanted``, and never further ahead than the settings allow:
    then its backend waits. ``on_moved`` is called when there is news, ``on_commit`` when it is to be told. A
    ``known_fault`` was counted already: an exchange that is broken says so whenever it is asked.
    """

    def __init__(
        self,
        contender: Contender,
        turn: Turn,
        *,
        speech_sec: float,
        settings: RoutingSettings,
        is_wanted: bool,
        on_commit: Callable[[], None],
        on_moved: Callable[[], None],
        known_fault: Fault | None = None,
    ) -> None:
        self.contender = contender
        self.known_fault = known_fault
        self.asked_at = self.moved_at = _now()
        self.first_at: float | None = None  # its first sound came or, for text, its first words, or a tool's call
        self.over_at: float | None = None  # it ended, failed or was closed
        self.sound_sec = 0.0  # of what came
        self.heard: Heard | None = None
        self.wanted_at: float | None = None  # when an answer was asked for, and not only the user's words
        self.fault: Fault | None = None
        self._turn = turn
        self._allowance = Allowance(turn)
        self._speech_sec = speech_sec
        self._settings = settings
        self._on_commit = on_commit
        self._on_moved = on_moved
        self._events = deque[ReplyEvent]()
        self._held_sec = 0.0
        self._is_timed = is_wanted and turn.script is None  # what is wanted later was held back by us
        self._has_ended = False
        self._streams_from: tuple[float, float] | None = None  # since when nothing held it back, and its sound by then
        self._wanted = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._reading: asyncio.Task[None] | None = None
        if is_wanted:
            contender.outlook.note_asked(self.asked_at)
            self.want()

    @property
    def name(self) -> str:
        return self.contender.name

    # -- for whoever speaks --------------------------------------------------------------------------------------------

    def want(self) -> None:
        """Read on behind the user's words."""
        if self.wanted_at is None:
            self.wanted_at = self.moved_at = _now()
        self._wanted.set()

    def rest(self) -> None:
        """Read on to the user's words, and no further."""
        self._wanted.clear()

    def commit(self) -> None:
        """It is the one that counts."""
        self._streams_from = None if self._is_full else (_now(), self.sound_sec)
        self._on_commit()

    @property
    def is_at_end(self) -> bool:
        """Whether all but the end was taken."""
        return self._has_ended and len(self._events) == 1

    @property
    def is_ready(self) -> bool:
        """Whether it can be told from now on: its first sound is here, or all that it has to say."""
        return not self.fault and (self.first_at is not None or self._has_ended or self._is_full)

    @property
    def has_begun(self) -> bool:
        """Whether anything of it is here."""
        return bool(self._events) and not self.fault

    @property
    def has_words_to_come(self) -> bool:
        """Whether it may still tell what the user said: words open every reply."""
        return self.heard is None and self.over_at is None and not self._events

    def take(self) -> ReplyEvent | None:
        """The next event; None where it has not come yet, or never will: see ``fault``."""
        if not self._events:
            return None
        event = self._events.popleft()
        self._held_sec -= _sound_sec(event)
        if not self._is_full:
            self._room.set()
        return event

    # -- for those who count -------------------------------------------------------------------------------------------

    @property
    def was_wanted(self) -> bool:
        return self.wanted_at is not None

    @property
    def response_sec(self) -> float | None:
        """From the asking to the first sound; None while it has not come."""
        return None if self.first_at is None else self.first_at - self.asked_at

    @property
    def work_sec(self) -> float:
        """How long its contender worked on it."""
        return (_now() if self.over_at is None else self.over_at) - self.asked_at

    # -- its end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Nobody wants it any more. Its backend forgets it, soon after."""
        if self.over_at is None:
            self._end()
            self._note_let_go()
        self.stop_reading()

    def _note_let_go(self) -> None:
        outlook = self.contender.outlook
        if self._is_timed and self.first_at is None:
            outlook.note_unanswered(self._speech_sec, self.work_sec, self.moved_at)
        else:
            outlook.note_let_go(self.moved_at)

    def fail(self, fault: Fault) -> None:
        """Give it up; what came of it can still be told."""
        if self.over_at is None:
            self._note_fault(fault)
        self.stop_reading()

    async def settled(self) -> None:
        """Return when its backend has let go of it."""
        if self._reading:
            await asyncio.wait([self._reading])

    def stop_reading(self) -> None:
        """Have its backend let go of it."""
        if self._reading and not self._has_ended and not self._reading.cancelling():
            self._reading.cancel()  # once: what is let go of shall not be disturbed at it

    def _end(self) -> None:
        self.over_at = self.moved_at = _now()
        self._on_moved()

    def _note_fault(self, fault: Fault) -> None:
        self.fault, known = fault, self.known_fault
        self.known_fault = fault
        self._end()
        if fault is not known:
            note_failure(self.contender, fault)

    # -- reading -------------------------------------------------------------------------------------------------------

    def begin(self, reading: asyncio.Task[None]) -> None:
        """``reading`` runs `read`, and is cancelled when the track is closed."""
        self._reading = reading

    async def read(self, exchange: Exchange) -> None:
        """Read the reply until it ends, fails or is closed."""
        try:
            await self._pull(exchange)
        except Exception as error:  # noqa: BLE001 whatever it is, it ends this track and nothing else
            if self.over_at is None:
                self._note_fault(as_fault(error, self.name))

    async def _pull(self, exchange: Exchange) -> None:
        if not self._speech_sec:
            await self._wanted.wait()
        async with aclosing(exchange.reply()) as events:
            async for event in events:
                self._take(event)
                await self._turn_to_read()
        if not self._has_ended:
            raise BackendError("the reply has no end")

    async def _turn_to_read(self) -> None:
        if self._has_ended:
            return  # there is nothing more to come, and a backend is let go of most easily at its own end
        if self.heard or self._events:
            await self._wanted.wait()
        await self._room.wait()

    def _take(self, event: ReplyEvent) -> None:
        if self._has_ended:
            return
        self._allowance.spend(event)
        if isinstance(event, Placement) or _is_empty(event):
            return  # where a router is routed over, only one of the two speaks
        if is_first(event, self._turn):  # what is not noticed does not break a silence
            self.moved_at = _now()
        if isinstance(event, Heard):
            self.heard = self.heard or (event if event.is_final else None)
        else:
            self._hold(event)
        self._on_moved()

    def _hold(self, event: ReplyEvent) -> None:
        self._events.append(event)
        self._held_sec += _sound_sec(event)
        self.sound_sec += _sound_sec(event)
        if self._is_full:
            self._room.clear()
            self._streams_from = None
        if isinstance(event, ReplyEnd):
            self._note_end()
        elif self.first_at is None and is_first(event, self._turn):
            self._note_first()

    def _note_first(self) -> None:
        self.first_at = self.moved_at
        if self._is_timed:
            response_sec = self.first_at - self.asked_at
            self.contender.outlook.note_response(self._speech_sec, response_sec, self.first_at)

    def _note_end(self) -> None:
        self._has_ended = True
        self.over_at = self.moved_at = now = _now()
        self.contender.outlook.note_success(now)
        if self._streams_from:
            began_at, sound_sec = self._streams_from
            self.contender.outlook.note_throughput(self.sound_sec - sound_sec, now - began_at, now)

    @property
    def _is_full(self) -> bool:
        return len(self._events) >= self._settings.held_events or self._held_sec >= self._settings.held_sec


def as_fault(error: Exception, name: str) -> Fault:
    """What anything that a backend raises means to whoever wanted an answer."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, BackendError | InvalidRequest):
        return error
    logger.error("backend %s broke its promise", name, exc_info=error)
    return BackendError("internal error")


def note_failure(contender: Contender, fault: Fault) -> None:
    """What is wrong with the turn itself is no failure of whoever was asked."""
    match fault:
        case AtCapacity(retry_after_sec=retry_after_sec):
            contender.outlook.note_failure(_now(), retry_after_sec=retry_after_sec)
        case InvalidRequest() | UnsuitedTurn():
            contender.outlook.note_let_go(_now())
        case _:
            contender.outlook.note_failure(_now())


def why(fault: Fault) -> str:
    """In an operator's words; what the backend wrote might quote the caller."""
    match fault:
        case AtCapacity():
            return "at capacity"
        case BackendUnavailable():
            return "unavailable"
        case InvalidRequest() | UnsuitedTurn():
            return "unsuited"
        case Stalled():
            return "stalled"
        case Silent():
            return "silent"
        case _:
            return "failed"


class Stalled(BackendError):
    """It stopped in the middle of a reply."""


class Silent(BackendError):
    """It was asked, and never began."""


def _sound_sec(event: ReplyEvent) -> float:
    return event.duration_sec if isinstance(event, AudioChunk) else 0.0


def _is_empty(event: ReplyEvent) -> bool:
    match event:
        case AudioChunk(samples=samples):
            return not len(samples)
        case TextDelta(text=text):
            return not text
        case _:
            return False


def _now() -> float:
    return asyncio.get_running_loop().time()
