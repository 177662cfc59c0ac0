"""Which session's conversation is computed in which slot, how far, and what is to be computed before its next turn.

The edge is the authority on what was said. A slot goes on where its contents agree with the edge's history: the
user's words may read in any way, since the slot holds their sound; a reply must be what was made here, or its
beginning when it was interrupted. Otherwise the history is computed anew, from its words.

Keys and values of a slot are valid up to a position and may be written over from any earlier one. The state of the
convolutions cannot go back: there is the current one, and one that was saved. So each session has a *mark*, the point
of its conversation where that was, and everything after the mark is remembered by what it was made of.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import count, takewhile

import numpy as np
from numpy.typing import NDArray

from deployments.engine.prompt import (
    Dialogue,
    Item,
    Piece,
    Prompter,
    SpeechPositions,
    TextPiece,
    joined,
    pieces_of,
    positions_of,
    shortened,
)
from routing.errors import AtCapacity, InvalidRequest
from routing.turns import HistoryItem, Message

MISHEARD_CHARACTERS = 40  # about two seconds of speech: how far two reports of what was heard may lie apart
REBUILT_SHARE = 0.5  # of a slot, when a history is shortened: the next turns shall find room without doing it again

type Key = str | int  # a session, or a turn that stands for itself


class StateAction(Enum):
    """What to do with a slot's state of the convolutions before anything is prefilled."""

    KEEP = "keep"
    RESTORE = "restore"  # the saved one
    ERASE = "erase"


class Origin(Enum):
    """Where the computed history of a turn comes from."""

    FRESH = "fresh"  # there is none
    CONTINUED = "continued"  # from the slot
    REBUILT = "rebuilt"  # from the words of the edge's history


class Ending(Enum):
    """What became of the last item that a reply was told to have."""

    COMPLETE = "complete"  # it was fed: what followed is the end of the turn, or was thrown away
    CUT = "cut"  # it was not fed: a limit or a cancel came first
    FAILED = "failed"  # nobody knows: nothing after the mark is to be trusted


# -- what a slot covers of the edge's history ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Told:
    """An item that was read as text, or knowingly left out."""

    item: HistoryItem
    left_out: bool = False

    def taken(self, item: HistoryItem | None) -> bool | None:
        return True if item == self.item else None


@dataclass(frozen=True, slots=True)
class _Spoken:
    """Sound of the user. Its words may be anything, and may be unknown."""

    def taken(self, item: HistoryItem | None) -> bool | None:
        return isinstance(item, Message) and item.role == "user"


@dataclass(frozen=True, slots=True)
class _Said:
    """A reply made here, as far as it was heard: ``text``, the beginning of what was ``made``."""

    text: str
    made: str

    def taken(self, item: HistoryItem | None) -> bool | None:
        heard = _reply_text(item)
        if heard is not None and self._agrees(heard):
            return True
        return None if self.text else False

    def _agrees(self, heard: str) -> bool:
        if not heard:
            return not self.text
        return self.made.startswith(heard) and abs(len(heard) - len(self.text)) <= MISHEARD_CHARACTERS


type _Covered = _Told | _Spoken | _Said


def _is_left_out(entry: _Covered) -> bool:
    return isinstance(entry, _Told) and entry.left_out


def _reply_text(item: HistoryItem | None) -> str | None:
    """The words of a reply without the blanks at the end, which the edge cuts off from what was interrupted."""
    return item.text.rstrip() if isinstance(item, Message) and item.role == "assistant" else None


def _agreement(covered: Sequence[_Covered], history: Sequence[HistoryItem]) -> int | None:
    """How many items of the history are covered; None where it says otherwise.

    What was left out at the beginning may also be forgotten by the edge.
    """
    left_out = len(list(takewhile(_is_left_out, covered)))
    agreements = (_agreement_of_all(covered[start:], history) for start in range(left_out + 1))
    return next((agreed for agreed in agreements if agreed is not None), None)


def _agreement_of_all(covered: Sequence[_Covered], history: Sequence[HistoryItem]) -> int | None:
    at = 0
    for entry in covered:
        taken = entry.taken(history[at] if at < len(history) else None)
        if taken is None:
            return None
        at += taken
    return at


@dataclass(frozen=True, slots=True, eq=False)
class _Mark:
    """A point of a conversation: ``positions`` are computed, ``pending`` is not, and both together are ``covered``."""

    positions: int
    pending: tuple[Piece, ...]
    covered: tuple[_Covered, ...]


@dataclass(slots=True, eq=False, kw_only=True)
class _Turn:
    """What follows a mark: the question, and the reply as far as it was made."""

    asked: tuple[Piece, ...]  # the question
    covered: tuple[_Covered, ...]  # the same
    answer: TextPiece  # asks for the reply
    items: list[Item] = field(default_factory=list)
    text: str = ""
    ends: list[int] = field(default_factory=list)  # of the text, after each item
    sounding: list[int] = field(default_factory=list)  # how many items there were after each frame that can be heard
    ending: Ending | None = None  # while it runs
    heard: int | None = None  # items, where that was told

    @property
    def fed(self) -> int:
        return max(len(self.items) - (self.ending is not Ending.COMPLETE), 0)

    def kept(self, heard: str) -> int | None:
        """How many items count, when these words of it were heard; None when it does not count at all."""
        made = self.text.rstrip()
        if not made.startswith(heard):
            return None
        kept = self.heard
        if kept is None:
            kept = len(self.items) if heard == made else self.items_within(heard)
        return kept or (0 if not self.items and self.ending is Ending.COMPLETE else None)

    def items_within(self, heard: str) -> int:
        """How many items come before the first word that was not heard."""
        return bisect_right(self.ends, len(heard)) if heard else 0

    def text_of(self, kept: int) -> str:
        """Their words, without blanks at the end."""
        return self.text[: self.ends[kept - 1]] if kept else ""


@dataclass(frozen=True, slots=True, eq=False)
class _Start:
    """Where a new turn may begin: what to do to get there, and how many items of the history are behind it."""

    action: StateAction
    mark: _Mark
    agreed: int
    truncated: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """All that is decided about a turn before it gets a slot."""

    start: _Start
    asked: tuple[Piece, ...]
    covered: tuple[_Covered, ...]
    origin: Origin
    reason: str


# -- what the engine gets --------------------------------------------------------------------------------------------


class Lease:
    """A slot, lent to one turn of one session.

    At once do ``action`` to the slot's state of the convolutions, and then save it: the turn may have to go back there.
    """

    def __init__(
        self, key: Key, slot: int, plan: _Plan, turn: _Turn, *, sizes: tuple[int, int], room: int, end_of_turn: int
    ) -> None:
        start = plan.start
        self.slot = slot
        self.action = start.action
        self.context_positions = start.mark.positions  # computed before this turn
        self.pieces = joined((*start.mark.pending, *turn.asked, turn.answer))  # to be prefilled
        self.settled_positions, self.prompt_positions = sizes  # of the pieces: the past, which stays; and all
        self.room = room  # how many items the reply may have
        self.origin = plan.origin
        self.reason = plan.reason
        self.truncated = start.truncated  # the reply before was cut to what was heard
        self.left_out = sum(map(_is_left_out, start.mark.covered))  # items of the history for which there is no room
        self.key = key
        self.turn = turn
        self._end_of_turn = end_of_turn

    @property
    def is_over(self) -> bool:
        """The reply has ended, and was not taken back before it had."""
        return self.turn.ending is not None

    def emitted(
        self, item: int | Sequence[int] | NDArray[np.int64], text: str = "", *, is_silent: bool = False
    ) -> None:
        """Take the next item of the reply, a token or the codes of a frame, and the words that it adds to the text.

        The token that ends a turn is no item: it is part of what is put behind every reply. A frame that only ends the
        sound ``is_silent``.
        """
        if isinstance(item, int) and item == self._end_of_turn:
            return
        self.turn.items.append(item if isinstance(item, int) else np.array(item, dtype=np.int64))
        self.turn.ends.append(0)
        if not (isinstance(item, int) or is_silent):
            self.turn.sounding.append(len(self.turn.items))
        self.said(text)

    def said(self, text: str) -> None:
        """Add words to the latest item, which were held back until the reply had ended."""
        turn = self.turn
        turn.text += text
        if turn.ends:
            turn.ends[-1] = len(turn.text.rstrip())


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStatistics:
    """The slots now, and what happened to sessions so far."""

    slots: int
    slots_in_use: int
    running: int
    positions: int  # of all slots
    positions_in_use: int
    fresh: int
    continued: int
    rebuilt: int
    truncated: int
    rolled_back: int
    evicted: int


# -- the table -------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False, kw_only=True)
class _Session:
    """The holder of a slot. ``mark`` is where its saved state belongs; None while nothing of the slot is of use."""

    slot: int
    system: str
    used_at: float
    lease: Lease
    mark: _Mark | None
    turn: _Turn | None
    undo: tuple[_Mark | None, _Turn | None]  # what mark and turn become if this turn was never asked
    intact: bool = False  # the current state is the one after the turn, or at the mark if there is no turn

    @property
    def is_running(self) -> bool:
        turn = self.turn  # read once: another thread may ask
        return turn is not None and turn.ending is None


class SessionTable:
    """The slots and who holds them.

    ``slots`` rows of ``positions`` each; a turn begins only where ``reply_positions`` are left for its reply.
    """

    def __init__(
        self,
        *,
        slots: int,
        positions: int,
        reply_positions: int,
        prompter: Prompter,
        speech_positions: SpeechPositions,
        retry_after_sec: float = 1.0,
    ) -> None:
        self._slots = slots
        self._positions = positions
        self._reply_positions = reply_positions
        self._prompter = prompter
        self._speech_positions = speech_positions
        self._retry_after_sec = retry_after_sec
        self._free = list(range(slots))
        self._sessions: dict[Key, _Session] = {}
        self._unremembered = count()
        self._origins = dict.fromkeys(Origin, 0)
        self._truncated = self._rolled_back = self._evicted = 0

    # -- turns -------------------------------------------------------------------------------------------------------

    def begin(self, session_id: str, dialogue: Dialogue, now: float) -> Lease:
        """Lend a slot for a turn: the session's own, a free one, or that of whoever was away for longest.

        Raises:
            InvalidRequest: a turn of this session runs, or the question is too long.
            AtCapacity: every slot has a turn that runs.
        """
        key: Key = session_id if dialogue.remembered else next(self._unremembered)
        session = self._sessions.get(key)
        if session is not None and session.is_running:
            raise InvalidRequest(
                f"expected one turn at a time, got another one while a turn of {session_id!r} runs",
                code="turn_in_progress",
            )
        plan = self._plan(session, dialogue)
        slot = self._slot_for(session)
        return self._lend(key, slot, plan, dialogue.system, now)

    def finish(self, lease: Lease, ending: Ending, now: float) -> None:
        """The reply is over. Every item that was sampled for it has been told, unless a failure lost it."""
        session = self._holder(lease)
        assert session.is_running, "a turn ends once"
        lease.turn.ending = ending
        session.intact = ending is not Ending.FAILED
        self._rest(session, now)

    def discard(self, lease: Lease, now: float) -> None:
        """The turn is over, and nobody knows what its slot holds: not even the part before the turn is built on."""
        self.finish(lease, Ending.FAILED, now)
        if isinstance(lease.key, str):
            self.forget(lease.key)

    def rollback(self, lease: Lease, now: float) -> None:
        """The turn was never asked, whether it runs or has ended. Nothing happens if its slot was given to others."""
        session = self._sessions.get(lease.key)
        if session is None or session.lease is not lease or session.turn is not lease.turn:
            return
        session.mark, session.turn = session.undo
        session.intact = False
        self._rolled_back += 1
        self._rest(session, now)

    def settle(self, lease: Lease) -> None:
        """The state of the convolutions was saved a second time, after the first ``settled_positions`` of the prompt.

        What happened before this turn then need not be computed again, whatever becomes of the turn.
        """
        session = self._holder(lease)
        mark = session.mark
        assert mark is not None
        session.mark = _Mark(lease.context_positions + lease.settled_positions, (), mark.covered)
        session.undo = session.mark, None

    def heard(self, lease: Lease, frames: int) -> None:
        """Of the reply, which has ended, so many frames were heard; the rest was not said.

        Without this, the words of the edge's history say what was heard.
        """
        assert lease.is_over, "what was heard is known when a reply has ended"
        made = lease.turn.sounding
        if frames < len(made):
            lease.turn.heard = made[frames - 1] if frames > 0 else 0

    # -- sessions ----------------------------------------------------------------------------------------------------

    def forget(self, session_id: str) -> None:
        """Give the session's slot back. Its next turn is rebuilt."""
        session = self._sessions.get(session_id)
        if session is not None:
            assert not session.is_running, "a turn is ended before its session is forgotten"
            self._release(session_id)

    def idle(self, since: float) -> tuple[str, ...]:
        """The sessions that did nothing after ``since``, those first that were away for longest."""
        idle = [key for key, session in self._idle() if session.used_at <= since]
        return tuple(key for key in idle if isinstance(key, str))

    def statistics(self) -> SessionStatistics:
        """The slots now, and what happened so far."""
        sessions = list(self._sessions.values())  # at once: another thread may ask
        return SessionStatistics(
            slots=self._slots,
            slots_in_use=len(sessions),
            running=sum(session.is_running for session in sessions),
            positions=self._slots * self._positions,
            positions_in_use=sum(map(self._positions_in_use, sessions)),
            **{origin.value: number for origin, number in self._origins.items()},
            truncated=self._truncated,
            rolled_back=self._rolled_back,
            evicted=self._evicted,
        )

    # -- where a turn begins -----------------------------------------------------------------------------------------

    def _plan(self, session: _Session | None, dialogue: Dialogue) -> _Plan:
        if session is None or session.mark is None:
            return self._rebuilt(dialogue, "nothing of the session is computed")
        if session.system != dialogue.system:
            return self._rebuilt(dialogue, "the instructions changed")
        start = next(self._starts(session, session.mark, dialogue.past), None)
        if start is None:
            return self._rebuilt(dialogue, "the history disagrees with the slot")
        plan = self._continued(start, dialogue)
        if self._prompt_size(plan) + start.mark.positions + self._reply_positions > self._positions:
            return self._rebuilt(dialogue, "the slot is full")
        return plan

    def _starts(self, session: _Session, mark: _Mark, past: Sequence[HistoryItem]) -> Iterator[_Start]:
        """Where the slot can go on, given what the edge says was said; the latest point first."""
        if session.turn is not None:
            agreed = _agreement((*mark.covered, *session.turn.covered), past)
            if agreed is not None:
                yield self._after(session.turn, mark, past, agreed, intact=session.intact)
        agreed = _agreement(mark.covered, past)
        if agreed is not None:
            there = session.intact and session.turn is None
            yield _Start(StateAction.KEEP if there else StateAction.RESTORE, mark, agreed)

    def _after(self, turn: _Turn, mark: _Mark, past: Sequence[HistoryItem], agreed: int, *, intact: bool) -> _Start:
        """Behind the question, and behind the reply as far as it was heard."""
        heard = _reply_text(past[agreed]) if agreed < len(past) else None
        kept = turn.kept(heard or "")
        told = heard is not None and turn.text.startswith(heard)
        if intact and kept == len(turn.items):
            action, after = StateAction.KEEP, self._mark_behind(turn, mark)
        else:
            action, after = StateAction.RESTORE, self._mark_before(turn, mark, kept)
        return _Start(action, after, agreed + told, truncated=(kept or 0) < len(turn.items))

    def _mark_behind(self, turn: _Turn, mark: _Mark) -> _Mark:
        """The point that is computed, once the turn has ended."""
        prompt = positions_of((*mark.pending, *turn.asked, turn.answer), self._speech_positions)
        pending = joined((*pieces_of(turn.items[turn.fed :]), self._prompter.close))
        said = _Said(turn.text_of(len(turn.items)), turn.text)
        return _Mark(mark.positions + prompt + turn.fed, pending, (*mark.covered, *turn.covered, said))

    def _mark_before(self, turn: _Turn, mark: _Mark, kept: int | None) -> _Mark:
        """The same mark, with the turn to be computed again; without a trace of the reply where nothing was heard."""
        said = _Said(turn.text_of(kept or 0), turn.text)
        replied = () if kept is None else (turn.answer, *pieces_of(turn.items[:kept]), self._prompter.close)
        pending = joined((*mark.pending, *turn.asked, *replied))
        return _Mark(mark.positions, pending, (*mark.covered, *turn.covered, said))

    def _continued(self, start: _Start, dialogue: Dialogue) -> _Plan:
        asked, covered = self._question(dialogue)
        mark = self._told(start.mark, dialogue.past[start.agreed :])
        reason = "the slot was cut to what was heard" if start.truncated else "the slot agrees with the history"
        return _Plan(replace(start, mark=mark), asked, covered, Origin.CONTINUED, reason)

    def _told(self, mark: _Mark, new: Sequence[HistoryItem]) -> _Mark:
        """The mark, and what others said since: that stays too, whatever becomes of the turn."""
        pieces = [piece for item in new for piece in self._prompter.item(item)]
        return _Mark(mark.positions, joined((*mark.pending, *pieces)), (*mark.covered, *map(_Told, new)))

    def _question(self, dialogue: Dialogue) -> tuple[tuple[Piece, ...], tuple[_Covered, ...]]:
        if dialogue.question is not None:
            return self._prompter.spoken(dialogue.question), (_Spoken(),)
        written = dialogue.history[len(dialogue.past) :]
        pieces = tuple(piece for item in written for piece in self._prompter.item(item))
        return pieces, tuple(_Told(item) for item in written)

    def _rebuilt(self, dialogue: Dialogue, reason: str) -> _Plan:
        """Everything from its words, and as much of it as there is room for."""
        asked, covered = self._question(dialogue)
        items = [self._prompter.item(item) for item in dialogue.past]
        opening = self._prompter.opening(dialogue.system)
        needed = positions_of((*opening, *asked, self._prompter.answer), self._speech_positions)
        kept = self._kept(dialogue.past, items, self._positions - self._reply_positions - needed)
        pending = joined((*opening, *(piece for item, keep in zip(items, kept, strict=True) if keep for piece in item)))
        told = tuple(_Told(item, left_out=not keep) for item, keep in zip(dialogue.past, kept, strict=True))
        start = _Start(StateAction.ERASE, _Mark(0, pending, told), len(told))
        origin = Origin.REBUILT if told else Origin.FRESH
        return _Plan(start, asked, covered, origin, reason)

    def _kept(self, past: Sequence[HistoryItem], items: Sequence[tuple[Piece, ...]], room: int) -> list[bool]:
        """Which items of the past fit into ``room`` positions; where not all do, they take a share of it only."""
        sizes = [positions_of(item, self._speech_positions) for item in items]
        if sum(sizes) <= room:
            return [True] * len(sizes)
        choices = [[item is not None for item in history] for history in shortened(past)]
        totals = [sum(size for size, keep in zip(sizes, kept, strict=True) if keep) for kept in choices]
        if totals[-1] > room:
            raise InvalidRequest(
                f"expected instructions and a question of at most {self._positions - self._reply_positions} positions,"
                f" got {self._positions - self._reply_positions - room + totals[-1]}",
                code="question_too_long",
            )
        fitting = (kept for kept, total in zip(choices, totals, strict=True) if total <= room * REBUILT_SHARE)
        return next(fitting, choices[-1])

    # -- slots -------------------------------------------------------------------------------------------------------

    def _slot_for(self, session: _Session | None) -> int:
        if session is not None:
            return session.slot
        if not self._free:
            self._evict()
        return self._free.pop(0)

    def _evict(self) -> None:
        idle = self._idle()
        if not idle:
            raise AtCapacity(
                f"expected a slot without a running turn, got {self._slots} that have one",
                retry_after_sec=self._retry_after_sec,
            )
        self._release(idle[0][0])
        self._evicted += 1

    def _idle(self) -> list[tuple[Key, _Session]]:
        idle = [(key, session) for key, session in self._sessions.items() if not session.is_running]
        return sorted(idle, key=lambda entry: entry[1].used_at)

    def _release(self, key: Key) -> None:
        self._free.append(self._sessions.pop(key).slot)
        self._free.sort()

    def _lend(self, key: Key, slot: int, plan: _Plan, system: str, now: float) -> Lease:
        start = plan.start
        turn = _Turn(asked=plan.asked, covered=plan.covered, answer=self._prompter.answer)
        sizes = positions_of(start.mark.pending, self._speech_positions), self._prompt_size(plan)
        room = self._positions - start.mark.positions - sizes[1]
        end_of_turn = self._prompter.close.ids[0]
        lease = Lease(key, slot, plan, turn, sizes=sizes, room=room, end_of_turn=end_of_turn)
        self._sessions[key] = _Session(
            slot=slot,
            system=system,
            used_at=now,
            lease=lease,
            mark=start.mark,
            turn=turn,
            undo=self._undo(self._sessions.get(key), start),
        )
        self._origins[plan.origin] += 1
        self._truncated += start.truncated
        return lease

    def _undo(self, before: _Session | None, start: _Start) -> tuple[_Mark | None, _Turn | None]:
        """Going back from the new turn leads to the state saved now: that is new, or as old as the mark before."""
        if start.action is StateAction.KEEP:
            return start.mark, None
        if start.action is StateAction.RESTORE and before is not None:
            return before.mark, before.turn
        return None, None

    def _rest(self, session: _Session, now: float) -> None:
        session.used_at = now
        if not isinstance(session.lease.key, str):
            self._release(session.lease.key)

    def _holder(self, lease: Lease) -> _Session:
        session = self._sessions[lease.key]
        assert session.lease is lease, "a lease is used by the turn that has it"
        return session

    def _prompt_size(self, plan: _Plan) -> int:
        return positions_of((*plan.start.mark.pending, *plan.asked, self._prompter.answer), self._speech_positions)

    def _positions_in_use(self, session: _Session) -> int:
        mark, turn = session.mark, session.turn  # at once too: a rollback may take them away
        if turn is not None:
            return session.lease.context_positions + session.lease.prompt_positions + turn.fed
        return mark.positions if mark is not None else 0
