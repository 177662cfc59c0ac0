"""Each session's conversation is computed once, as long as its slot agrees with what the edge says was said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from deployments.engine.prompt import (
    Dialogue,
    FramesPiece,
    Mode,
    Piece,
    Prompter,
    SpeechPiece,
    SpeechPositions,
    TextPiece,
)
from deployments.engine.sessions import Ending, Lease, Origin, SessionTable, StateAction
from routing.errors import AtCapacity, InvalidRequest
from routing.turns import HistoryItem, Message
from tests.test_engine_prompt import encode, shown, speech, speech_positions

KEEP, RESTORE, ERASE = StateAction.KEEP, StateAction.RESTORE, StateAction.ERASE
OPENING = "<|startoftext|><|im_start|>system\nTalk.<|im_end|>\n"
ASKED = "<|im_start|>user\n[2560 samples]<|im_end|>\n"
ANSWER = "<|im_start|>assistant\n"
CLOSE = "<|im_end|>\n"
WORDS = ("Hello", " there", ",", " how", " are", " you")


def table(*, slots: int = 2, positions: int = 1000, reply_positions: int = 100) -> SessionTable:
    return SessionTable(
        slots=slots,
        positions=positions,
        reply_positions=reply_positions,
        prompter=Prompter(encode),
        speech_positions=speech_positions,
    )


def spoken(*history: HistoryItem, system: str = "Talk.") -> Dialogue:
    question = SpeechPiece(speech(2560))
    return Dialogue(mode=Mode.INTERLEAVED, system=system, history=history, question=question)


def typed(*history: HistoryItem) -> Dialogue:
    return Dialogue(mode=Mode.INTERLEAVED, system="Talk.", history=history)


def user(text: str) -> Message:
    return Message("user", text)


def assistant(text: str) -> Message:
    return Message("assistant", text)


def reply(lease: Lease, words: Sequence[str] = WORDS, frames_each: int = 2) -> None:
    """Each word is an item, and so is each of the frames that follow it; they are numbered from 1."""
    frame = 0
    for word in words:
        lease.emitted(ord(word[-1]), word)
        for _ in range(frames_each):
            frame += 1
            lease.emitted([frame, 0])


def answered(sessions: SessionTable, dialogue: Dialogue, words: Sequence[str] = WORDS, now: float = 0.0) -> Lease:
    lease = sessions.begin("anna", dialogue, now)
    reply(lease, words)
    sessions.finish(lease, Ending.COMPLETE, now)
    return lease


def told(words: Sequence[str], frames_each: int = 2) -> str:
    """What `reply` is when it is read again."""
    marks = (
        word[-1] + "".join(f"[frame {index * frames_each + frame + 1}]" for frame in range(frames_each))
        for index, word in enumerate(words)
    )
    return "".join(marks)


# -- going on --------------------------------------------------------------------------------------------------------


def test_a_new_session_begins_with_the_opening() -> None:
    lease = table().begin("anna", spoken(), 0.0)
    assert (lease.origin, lease.action, lease.context_positions, lease.slot) == (Origin.FRESH, ERASE, 0, 0)
    assert shown(lease.pieces) == OPENING + ASKED + ANSWER
    assert lease.prompt_positions == len(encode(OPENING + ANSWER)) + len(encode("<|im_start|>user\n<|im_end|>\n")) + 2
    assert lease.settled_positions == len(encode(OPENING))
    assert lease.room == 1000 - lease.prompt_positions


def test_a_second_turn_goes_on_behind_the_reply() -> None:
    sessions = table()
    first = answered(sessions, spoken())
    second = sessions.begin("anna", spoken(user("whatever was heard"), assistant("Hello there, how are you")), 1.0)
    assert (second.origin, second.action) == (Origin.CONTINUED, KEEP)
    assert second.context_positions == first.prompt_positions + 18  # every item was fed
    assert shown(second.pieces) == CLOSE + ASKED + ANSWER


def test_the_item_at_which_a_reply_was_cut_is_still_to_be_read() -> None:
    sessions = table()
    first = sessions.begin("anna", spoken(), 0.0)
    reply(first, WORDS[:2])
    sessions.finish(first, Ending.CUT, 0.0)
    second = sessions.begin("anna", spoken(user("Hi."), assistant("Hello there")), 1.0)
    assert second.action is KEEP
    assert second.context_positions == first.prompt_positions + 5
    assert shown(second.pieces) == "[frame 4]" + CLOSE + ASKED + ANSWER


def test_words_of_the_user_that_nobody_understood_may_be_missing() -> None:
    sessions = table()
    answered(sessions, spoken())
    assert sessions.begin("anna", spoken(assistant("Hello there, how are you")), 1.0).action is KEEP


def test_what_others_said_meanwhile_is_read_in_words() -> None:
    sessions = table()
    answered(sessions, spoken(), WORDS[:1])
    history = user("Hi."), assistant("Hello"), user("Set a timer."), assistant("It is set.")
    lease = sessions.begin("anna", spoken(*history), 1.0)
    assert (lease.origin, lease.action) == (Origin.CONTINUED, KEEP)
    assert shown(lease.pieces) == (
        CLOSE
        + "<|im_start|>user\nSet a timer.<|im_end|>\n<|im_start|>assistant\nIt is set.<|im_end|>\n"
        + ASKED
        + ANSWER
    )


def test_a_typed_question_is_read_once() -> None:
    sessions = table()
    first = answered(sessions, typed(user("Hi.")), WORDS[:1])
    assert shown(first.pieces) == OPENING + "<|im_start|>user\nHi.<|im_end|>\n" + ANSWER
    second = sessions.begin("anna", typed(user("Hi."), assistant("Hello"), user("Bye.")), 1.0)
    assert second.action is KEEP
    assert shown(second.pieces) == CLOSE + "<|im_start|>user\nBye.<|im_end|>\n" + ANSWER


def test_a_reply_without_words_or_items_is_closed_as_it_is() -> None:
    sessions = table()
    first = sessions.begin("anna", spoken(), 0.0)
    first.emitted(7)  # the end of the turn, which some modes count as an item
    sessions.finish(first, Ending.COMPLETE, 0.0)
    second = sessions.begin("anna", spoken(user("Hi.")), 1.0)
    assert (second.action, second.context_positions) == (KEEP, first.prompt_positions)
    assert shown(second.pieces) == CLOSE + ASKED + ANSWER


# -- going back ------------------------------------------------------------------------------------------------------


def test_the_empty_message_of_a_reply_without_words_is_no_news() -> None:
    sessions = table()
    answered(sessions, spoken(), words=("\r",))
    history = (user("..."), assistant(""))
    second = sessions.begin("anna", spoken(*history), 1.0)
    assert shown(second.pieces) == CLOSE + ASKED + ANSWER
    reply(second)
    sessions.finish(second, Ending.COMPLETE, 1.0)
    third = sessions.begin("anna", spoken(*history, user("..."), assistant("Hello there, how are you")), 2.0)
    assert (third.origin, shown(third.pieces)) == (Origin.CONTINUED, CLOSE + ASKED + ANSWER)


def test_a_turn_that_was_asked_too_early_was_never_asked() -> None:
    sessions = table()
    answered(sessions, spoken(), WORDS[:1])
    history = user("Hi."), assistant("Hello")
    early = sessions.begin("anna", spoken(*history), 1.0)
    reply(early)
    sessions.rollback(early, 1.0)
    again = sessions.begin("anna", spoken(*history), 2.0)
    assert again.action is RESTORE
    assert again.context_positions == early.context_positions
    assert shown(again.pieces) == shown(early.pieces)


def test_a_first_turn_that_was_asked_too_early_begins_anew() -> None:
    sessions = table()
    early = sessions.begin("anna", spoken(), 0.0)
    sessions.finish(early, Ending.COMPLETE, 0.0)
    sessions.rollback(early, 0.0)
    again = sessions.begin("anna", spoken(), 1.0)
    assert (again.origin, again.action, again.slot) == (Origin.FRESH, ERASE, early.slot)


def test_history_that_was_settled_is_not_computed_again() -> None:
    sessions = table()
    early = sessions.begin("anna", spoken(user("Hi."), assistant("Hello")), 0.0)
    sessions.settle(early)
    sessions.rollback(early, 0.0)
    again = sessions.begin("anna", spoken(user("Hi."), assistant("Hello")), 1.0)
    assert (early.origin, again.origin, again.action) == (Origin.REBUILT, Origin.CONTINUED, RESTORE)
    assert again.context_positions == early.settled_positions
    assert shown(again.pieces) == ASKED + ANSWER


def test_an_interrupted_reply_keeps_what_was_heard() -> None:
    sessions = table()
    first = answered(sessions, spoken())
    second = sessions.begin("anna", spoken(user("Hi."), assistant("Hello there")), 1.0)
    assert (second.origin, second.action, second.truncated) == (Origin.CONTINUED, RESTORE, True)
    assert second.context_positions == first.context_positions
    heard = told(WORDS[:2])
    assert shown(second.pieces) == OPENING + ASKED + ANSWER + heard + CLOSE + ASKED + ANSWER
    assert (
        second.settled_positions + len(encode(ANSWER + "<|im_start|>user\n<|im_end|>\n")) + 2 == second.prompt_positions
    )


def test_the_edge_may_say_in_frames_what_was_heard() -> None:
    sessions = table()
    first = answered(sessions, spoken())
    sessions.heard(first, 3)
    second = sessions.begin("anna", spoken(user("Hi."), assistant("Hello")), 1.0)
    assert second.truncated
    assert shown(second.pieces) == OPENING + ASKED + ANSWER + "o[frame 1][frame 2]e[frame 3]" + CLOSE + ASKED + ANSWER


def test_a_reply_that_was_heard_to_its_end_is_not_cut() -> None:
    sessions = table()
    first = answered(sessions, spoken())
    sessions.heard(first, 12)
    second = sessions.begin("anna", spoken(user("Hi."), assistant("Hello there, how are you")), 1.0)
    assert (second.action, second.truncated) == (KEEP, False)


def test_a_reply_that_nobody_heard_leaves_the_question() -> None:
    sessions = table()
    first = answered(sessions, spoken())
    sessions.heard(first, 0)
    second = sessions.begin("anna", spoken(user("Hi.")), 1.0)
    assert (second.action, second.truncated) == (RESTORE, True)
    assert shown(second.pieces) == OPENING + ASKED + ASKED + ANSWER


def test_the_words_of_another_backend_answer_the_question_that_was_heard_here() -> None:
    sessions = table()
    answered(sessions, spoken())
    second = sessions.begin("anna", spoken(user("Hi."), assistant("It is noon.")), 1.0)
    assert second.origin is Origin.CONTINUED
    noon = "<|im_start|>assistant\nIt is noon.<|im_end|>\n"
    assert shown(second.pieces) == OPENING + ASKED + noon + ASKED + ANSWER


def test_a_turn_that_failed_is_computed_again_from_what_it_was_made_of() -> None:
    sessions = table()
    first = sessions.begin("anna", spoken(), 0.0)
    reply(first, WORDS[:1])
    sessions.finish(first, Ending.FAILED, 0.0)
    second = sessions.begin("anna", spoken(user("Hi."), assistant("Hello")), 1.0)
    assert (second.action, second.truncated) == (RESTORE, False)
    assert shown(second.pieces) == OPENING + ASKED + ANSWER + told(WORDS[:1]) + CLOSE + ASKED + ANSWER


def test_an_interruption_that_was_taken_back_is_forgotten() -> None:
    """The caller said "mhm" while the reply went on: the next turn finds it heard to its end."""
    sessions = table()
    answered(sessions, spoken())
    backchannel = sessions.begin("anna", spoken(user("Hi."), assistant("Hello there")), 1.0)
    sessions.rollback(backchannel, 1.0)
    lease = sessions.begin("anna", spoken(user("Hi."), assistant("Hello there, how are you")), 2.0)
    assert (lease.origin, lease.action, lease.truncated) == (Origin.CONTINUED, RESTORE, False)
    assert shown(lease.pieces) == OPENING + ASKED + ANSWER + told(WORDS) + CLOSE + ASKED + ANSWER


def test_a_word_more_or_less_of_an_old_interruption_rebuilds_nothing() -> None:
    """The history of a turn is as of its first sound; a little more of the reply before was heard after that."""
    sessions = table()
    answered(sessions, spoken())
    answered(sessions, spoken(user("Hi."), assistant("Hello there")), WORDS[:1])
    history = user("Hi."), assistant("Hello there, how"), user("Stop."), assistant("Hello")
    assert sessions.begin("anna", spoken(*history), 2.0).action is KEEP


# -- beginning anew --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dialogue",
    [
        spoken(user("Hi."), assistant("Hello there, how are you"), system="Talk. Be kind."),
        spoken(user("Hi."), assistant("Goodbye"), user("Hi."), assistant("Hello")),
        spoken(),
    ],
    ids=["instructions", "another reply", "no history"],
)
def test_a_history_that_disagrees_is_computed_anew(dialogue: Dialogue) -> None:
    sessions = table()
    answered(sessions, spoken(user("Hey."), assistant("Hey!")))
    lease = sessions.begin("anna", dialogue, 1.0)
    assert (lease.action, lease.context_positions) == (ERASE, 0)
    words = {"user": "<|im_start|>user\n", "assistant": ANSWER}
    past = "".join(f"{words[item.role]}{item.text}{CLOSE}" for item in dialogue.history if isinstance(item, Message))
    assert shown(lease.pieces) == OPENING.replace("Talk.", dialogue.system) + past + ASKED + ANSWER


def test_a_full_slot_keeps_the_newest_exchanges_and_says_so() -> None:
    sessions = table(positions=500)
    history: list[HistoryItem] = [Message("system", "Be kind.")]
    left_out = []
    for index in range(40):
        history += [user(f"Question {index}?"), assistant(f"Answer {index}.")]
        lease = sessions.begin("anna", spoken(*history), 0.0)
        sessions.finish(lease, Ending.FAILED, 0.0)
        assert lease.context_positions + lease.prompt_positions + 100 <= 500
        assert all(text in shown(lease.pieces) for text in ("Be kind.", f"Answer {index}."))
        left_out.append(lease.left_out)
    assert left_out == sorted(left_out)
    assert left_out[0] == 0
    assert all(count % 2 == 0 for count in left_out)
    assert 3 < sessions.statistics().rebuilt < 20  # and not at every turn


def test_a_slot_with_a_shortened_history_goes_on_even_when_the_edge_forgets_the_same() -> None:
    sessions = table(positions=400)
    exchanges = [[user(f"Question {index}?"), assistant(f"Answer {index}.")] for index in range(12)]
    history = [item for exchange in exchanges for item in exchange]
    first = answered(sessions, spoken(*history), WORDS[:1])
    assert first.left_out > 2
    later = *history, user("Hi."), assistant("Hello")
    assert sessions.begin("anna", spoken(*later[2:]), 1.0).action is KEEP


def test_a_question_that_is_longer_than_the_slot_is_refused() -> None:
    sessions = table(positions=200)
    with pytest.raises(InvalidRequest, match="at most 100 positions, got") as caught:
        sessions.begin("anna", typed(user("x" * 100)), 0.0)
    assert caught.value.code == "question_too_long"
    assert sessions.statistics().slots_in_use == 0


# -- slots -----------------------------------------------------------------------------------------------------------


def test_whoever_was_away_for_longest_gives_the_slot_up() -> None:
    sessions = table(slots=2)
    for now, name in enumerate(("anna", "ben")):
        sessions.finish(sessions.begin(name, spoken(), now), Ending.COMPLETE, now)
    assert sessions.idle(since=0.5) == ("anna",)
    assert sessions.begin("clara", spoken(), 2.0).slot == 0
    assert sessions.begin("ben", spoken(), 3.0).slot == 1
    with pytest.raises(AtCapacity, match="got 2 that have one"):
        sessions.begin("anna", spoken(), 4.0)
    assert sessions.statistics().evicted == 1


def test_a_session_that_lost_its_slot_is_rebuilt_from_its_words() -> None:
    sessions = table(slots=1)
    answered(sessions, spoken(), WORDS[:1])
    sessions.finish(sessions.begin("ben", spoken(), 1.0), Ending.COMPLETE, 1.0)
    lease = sessions.begin("anna", spoken(user("Hi."), assistant("Hello")), 2.0)
    assert (lease.origin, lease.action) == (Origin.REBUILT, ERASE)
    assert shown(lease.pieces) == (
        OPENING + "<|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n" + ASKED + ANSWER
    )


def test_a_late_rollback_does_not_touch_who_came_after() -> None:
    sessions = table(slots=1)
    early = answered(sessions, spoken())
    ben = sessions.begin("ben", spoken(), 1.0)
    sessions.rollback(early, 1.0)
    sessions.finish(ben, Ending.COMPLETE, 1.0)
    assert sessions.begin("ben", spoken(user("Hi.")), 2.0).action is KEEP


def test_one_turn_of_a_session_runs_at_a_time() -> None:
    sessions = table()
    sessions.begin("anna", spoken(), 0.0)
    with pytest.raises(InvalidRequest, match="'anna' runs"):
        sessions.begin("anna", spoken(), 0.0)


def test_an_announcement_has_a_slot_for_itself_and_gives_it_back() -> None:
    sessions = table()
    running = sessions.begin("anna", spoken(), 0.0)
    script = replace(typed(user("Time is up.")), mode=Mode.SEQUENTIAL, remembered=False)
    lease = sessions.begin("anna", script, 0.0)
    assert lease.slot != running.slot
    sessions.finish(lease, Ending.COMPLETE, 0.0)
    assert sessions.statistics().slots_in_use == 1


def test_a_session_that_hung_up_is_forgotten() -> None:
    sessions = table()
    answered(sessions, spoken())
    sessions.forget("anna")
    sessions.forget("nobody")
    assert sessions.statistics().slots_in_use == 0


def test_statistics_count_positions_and_what_happened() -> None:
    sessions = table()
    first = answered(sessions, spoken())
    second = sessions.begin("anna", spoken(user("Hi."), assistant("Hello")), 1.0)
    reply(second, WORDS[:1])
    statistics = sessions.statistics()
    assert (statistics.running, statistics.slots_in_use, statistics.slots) == (1, 1, 2)
    assert (statistics.fresh, statistics.continued, statistics.truncated) == (1, 1, 1)
    assert statistics.positions == 2000
    assert statistics.positions_in_use == first.context_positions + second.prompt_positions + 2


def test_frames_are_copied_out_of_the_buffer_that_they_come_in() -> None:
    sessions = table()
    lease = sessions.begin("anna", spoken(), 0.0)
    buffer = np.array([1, 0])
    for frame in (1, 2):
        buffer[0] = frame
        lease.emitted(buffer)
    sessions.finish(lease, Ending.CUT, 0.0)
    assert shown(sessions.begin("anna", spoken(user("Hi.")), 1.0).pieces).startswith("[frame 2]")
    sessions.heard(lease, 1)


# -- any course of things --------------------------------------------------------------------------------------------

type Position = tuple[object, ...]  # what is computed at a position: its token, its frame, or its part of a clip
type Positions = tuple[Position, ...]


def laid_out(pieces: Iterable[Piece], of_speech: SpeechPositions = speech_positions) -> Positions:
    """What each position of the pieces holds."""
    return tuple(position for piece in pieces for position in _laid_out(piece, of_speech))


def _laid_out(piece: Piece, of_speech: SpeechPositions) -> list[Position]:
    match piece:
        case TextPiece(ids):
            return [("token", number) for number in ids]
        case FramesPiece(codes):
            return [("frame", *codes) for codes in codes.tolist()]
        case SpeechPiece(samples):
            return [("speech", float(samples[0]), index) for index in range(of_speech(len(samples)))]


@dataclass
class Row:
    """A slot of the device, with what its state of the convolutions has seen since it was erased."""

    computed: Positions = ()
    seen: Positions = ()
    saved: Positions = ()

    def prepare(self, lease: Lease) -> None:
        if lease.action is not KEEP:
            self.seen = self.saved if lease.action is RESTORE else ()
        self.computed = self.computed[: lease.context_positions]
        assert self.seen == self.computed
        assert len(self.seen) == lease.context_positions
        self.saved = self.seen

    def feed(self, positions: Positions) -> None:
        self.computed += positions
        self.seen += positions


@dataclass(frozen=True)
class Entry:
    """A part of a conversation: what the edge says of it, if anything, and what a model ought to have read of it."""

    item: Message | None
    read: Positions


@dataclass(frozen=True)
class Exchange:
    """A question that was asked here, and what became of its answer."""

    question: Entry
    items: Positions = ()
    words: tuple[str, ...] = ()  # of each item
    ending: Ending | None = None
    heard: str | None = None  # words, where they are not all
    heard_items: int | None = None  # where that was told
    answered: str | None = None  # by somebody else, in place of what was made here
    is_understood: bool = True  # by whoever writes the user's words down; or else that takes a while

    @property
    def text(self) -> str:
        return "".join(self.words)

    def entries(self) -> tuple[Entry, ...]:
        if self.answered is not None:
            return self.question, in_words(assistant(self.answered))
        heard = self.text if self.heard is None else self.heard
        kept = self._kept(heard)
        if kept is None:
            return (self.question,)
        reply = Entry(assistant(heard) if heard else None, ANSWER_READ + self.items[:kept] + CLOSE_READ)
        is_written = self.is_understood or not heard
        return self.question if is_written else Entry(None, self.question.read), reply

    def _kept(self, heard: str) -> int | None:
        if not self.items:
            return 0 if self.ending is Ending.COMPLETE else None
        if self.heard_items is not None:
            return self.heard_items or None
        if heard == self.text:
            return len(self.items)
        kept = 0
        while heard.startswith("".join(self.words[: kept + 1])):
            kept += 1
        return kept if heard else None


PROMPTER = Prompter(encode)
ANSWER_READ = laid_out([PROMPTER.answer])
CLOSE_READ = laid_out([PROMPTER.close])


def in_words(item: Message) -> Entry:
    return Entry(item, laid_out(PROMPTER.item(item)))


type Story = tuple[tuple[Entry, ...], Exchange | None, tuple[Entry, ...]]


@dataclass
class Caller:
    """A session as the edge knows it, and what its slot ought to hold, if it holds anything of use."""

    name: str
    system: str = "s0"
    system_read: str = "s0"
    past: tuple[Entry, ...] = ()
    last: Exchange | None = None
    later: tuple[Entry, ...] = ()  # said by others since
    has_slot: bool = False
    lease: Lease | None = None
    unread: Positions = ()  # of the prompt
    before: Story = ((), None, ())  # the turn that came last
    stays: bool = False  # what the slot holds, if that turn is taken back

    @property
    def is_running(self) -> bool:
        return self.last is not None and self.last.ending is None

    @property
    def story(self) -> Story:
        return self.past, self.last, self.later

    def entries(self) -> tuple[Entry, ...]:
        return (*self.past, *(self.last.entries() if self.last else ()), *self.later)


def rebuilt(entries: tuple[Entry, ...], left_out: int) -> tuple[Entry, ...]:
    """All of it in words, without the first so many items, which are whole exchanges."""
    items = [entry.item for entry in entries if entry.item is not None]
    roles = [item.role for item in items]
    starts = [at for at, role in enumerate(roles) if role == "user" and (at == 0 or roles[at - 1] != "user")]
    assert left_out in (0, *starts, len(items))
    return tuple(Entry(item, () if at < left_out else in_words(item).read) for at, item in enumerate(items))


@dataclass(frozen=True)
class Choice:
    """Everything that is left to chance in an event."""

    who: int
    speaks: bool
    is_understood: bool
    settles: bool
    share: float
    kinds: list[str]
    ending: Ending


choices = st.builds(
    Choice,
    who=st.sampled_from([0, 0, 0, 1, 2]),  # the more often one speaks, the longer is a conversation
    speaks=st.booleans(),
    is_understood=st.booleans(),
    settles=st.booleans(),
    share=st.sampled_from([1.0, 1.0, 0.6, 0.3, 0.0]),
    kinds=st.lists(st.sampled_from(["word", "word", "mark", "frame", "frame"]), min_size=2, max_size=8),
    ending=st.sampled_from([Ending.COMPLETE, Ending.COMPLETE, Ending.CUT, Ending.CUT, Ending.FAILED]),
)
EVENTS = (
    "converse converse converse converse converse ask emit finish take_back take_back hear_frames hear_words"
    " be_answered_by_another talk_to_another change_instructions hang_up"
).split()


class Conversations(RuleBasedStateMachine):
    """Turns of several sessions come, are answered, cut, taken back and interrupted, and take each other's slots.

    When a turn begins, its slot holds, position by position, what a model that reads everything anew would read, and
    the state of the convolutions has seen exactly that.
    """

    POSITIONS = 400
    REPLY_POSITIONS = 40

    def __init__(self) -> None:
        super().__init__()
        self.sessions = table(slots=2, positions=self.POSITIONS, reply_positions=self.REPLY_POSITIONS)
        self.rows = [Row(), Row()]
        self.owners: dict[int, Caller] = {}
        self.callers = [Caller(name) for name in ("anna", "ben", "clara")]
        self.number = 0

    def next_number(self) -> int:
        self.number += 1
        return self.number

    # -- a turn ------------------------------------------------------------------------------------------------------

    @rule(event=st.sampled_from(EVENTS), choice=choices)
    def happen(self, event: str, choice: Choice) -> None:
        """One rule for all: of several, most courses would leave some out."""
        getattr(self, event)(self.callers[choice.who], choice)

    def converse(self, caller: Caller, choice: Choice) -> None:
        """A whole turn, and how much of it is heard."""
        if not caller.is_running:
            self.ask(caller, replace(choice, settles=False, share=1.0))
            self.emit(caller, choice)
            self.finish(caller, choice)
            self.hear_words(caller, choice)

    def ask(self, caller: Caller, choice: Choice) -> None:
        text = user(f"q{self.next_number()}")
        entries = caller.entries()
        history = tuple(entry.item for entry in entries if entry.item is not None)
        if choice.speaks:
            clip = SpeechPiece(np.full(2560, self.number, dtype=np.float32))
            exchange = Exchange(Entry(text, laid_out(PROMPTER.spoken(clip))), is_understood=choice.is_understood)
            dialogue = replace(spoken(*history, system=caller.system), question=clip)
        else:
            exchange = Exchange(in_words(text))
            dialogue = replace(typed(*history, text), system=caller.system)
        lease = self.begin(caller, dialogue)
        if lease is not None:
            entries = self.check_origin(caller, lease, entries, exchange)
            past = laid_out(PROMPTER.opening(caller.system)) + read(entries)
            self.prefill(caller, lease, past, exchange, choice)
            caller.stays = choice.settles or lease.action is not ERASE
            rewinds = lease.action is RESTORE and not choice.settles
            caller.before = caller.story if rewinds else (entries, None, ())
            caller.past, caller.last, caller.later = entries, exchange, ()

    def begin(self, caller: Caller, dialogue: Dialogue) -> Lease | None:
        error: type[Exception] | None = None
        if caller.is_running:
            error = InvalidRequest
        elif sum(owner.is_running for owner in self.owners.values()) == 2:
            error = AtCapacity
        if error is None:
            return self.sessions.begin(caller.name, dialogue, self.number)
        with pytest.raises(error):
            self.sessions.begin(caller.name, dialogue, self.number)
        return None

    def check_origin(
        self, caller: Caller, lease: Lease, entries: tuple[Entry, ...], exchange: Exchange
    ) -> tuple[Entry, ...]:
        """The slot went on if it could. What was read before the question."""
        opening = laid_out(PROMPTER.opening(caller.system))
        needed = len(opening + read(entries) + exchange.question.read + ANSWER_READ) + self.REPLY_POSITIONS
        could = caller.has_slot and caller.system_read == caller.system and needed <= self.POSITIONS
        self.take_slot(caller, lease)
        assert (lease.origin is Origin.CONTINUED) == could
        return entries if could else rebuilt(entries, lease.left_out)

    def take_slot(self, caller: Caller, lease: Lease) -> None:
        owner = self.owners.get(lease.slot)
        if owner is not None and owner is not caller:
            assert not owner.is_running
            owner.has_slot = False
        self.owners[lease.slot] = caller
        assert sum(owner is caller for owner in self.owners.values()) == 1
        caller.has_slot, caller.system_read, caller.lease = True, caller.system, lease

    def prefill(self, caller: Caller, lease: Lease, past: Positions, exchange: Exchange, choice: Choice) -> None:
        row = self.rows[lease.slot]
        row.prepare(lease)
        prompt = laid_out(lease.pieces)
        assert row.computed + prompt == past + exchange.question.read + ANSWER_READ
        assert len(prompt) == lease.prompt_positions
        assert lease.context_positions + lease.settled_positions == len(past)
        assert lease.room == self.POSITIONS - len(row.computed + prompt) >= self.REPLY_POSITIONS
        row.feed(prompt[: lease.settled_positions])
        if choice.settles:
            row.saved = row.seen
            self.sessions.settle(lease)
        asked = prompt[lease.settled_positions :]
        caller.unread = asked[round(len(asked) * choice.share) :]  # a turn may end while its prompt is read
        row.feed(asked[: len(asked) - len(caller.unread)])

    def emit(self, caller: Caller, choice: Choice) -> None:
        for kind in choice.kinds if caller.is_running else ():
            self.feed_back(caller)
            self.emit_one(caller, kind)

    def feed_back(self, caller: Caller) -> None:
        """What a step does before it samples."""
        assert caller.last is not None
        assert caller.lease is not None
        self.rows[caller.lease.slot].feed(caller.unread or caller.last.items[-1:])
        caller.unread = ()

    def emit_one(self, caller: Caller, kind: str) -> None:
        assert caller.last is not None
        assert caller.lease is not None
        number = self.next_number()
        word = f" w{number}" if kind == "word" else ""
        caller.lease.emitted([number, 0] if kind == "frame" else 1000 + number, word)
        item: Position = ("frame", number, 0) if kind == "frame" else ("token", 1000 + number)
        items, words = (*caller.last.items, item), (*caller.last.words, word)
        caller.last = replace(caller.last, items=items, words=words)

    def finish(self, caller: Caller, choice: Choice) -> None:
        if not caller.is_running:
            return
        ending = choice.ending
        assert caller.last is not None
        assert caller.lease is not None
        if ending is Ending.COMPLETE:
            self.feed_back(caller)
        elif ending is Ending.FAILED:
            self.rows[caller.lease.slot].feed((("garbage",),))
        self.sessions.finish(caller.lease, ending, self.number)
        caller.last = replace(caller.last, ending=ending)

    def take_back(self, caller: Caller, _: Choice) -> None:
        if caller.last is None or caller.later or caller.lease is None:
            return
        self.sessions.rollback(caller.lease, self.number)
        self.sessions.rollback(caller.lease, self.number)  # which changes nothing any more
        caller.past, caller.last, caller.later = caller.before
        caller.has_slot &= caller.stays
        caller.lease = None

    # -- what the edge finds out -------------------------------------------------------------------------------------

    def hear_frames(self, caller: Caller, choice: Choice) -> None:
        if caller.last is None or caller.last.ending is None or caller.lease is None:
            return
        last = caller.last
        made = [at for at, item in enumerate(last.items, 1) if item[0] == "frame"]
        frames = int(len(made) * choice.share)
        self.sessions.heard(caller.lease, frames)
        if frames < len(made):
            items = made[frames - 1] if frames else 0
            caller.last = replace(last, heard_items=items, heard="".join(last.words[:items]))

    def hear_words(self, caller: Caller, choice: Choice) -> None:
        last = caller.last
        if last is not None and last.ending is not None and last.heard_items is None:
            words = [word for word in last.words if word]
            caller.last = replace(last, heard="".join(words[: round(len(words) * choice.share)]))

    def be_answered_by_another(self, caller: Caller, _: Choice) -> None:
        if caller.last is not None and caller.last.ending is not None:
            caller.last = replace(caller.last, answered=f"o{self.next_number()}")

    def talk_to_another(self, caller: Caller, _: Choice) -> None:
        if not caller.is_running:
            number = self.next_number()
            caller.later += in_words(user(f"q{number}")), in_words(assistant(f"o{number}"))

    def change_instructions(self, caller: Caller, choice: Choice) -> None:
        if not choice.share:  # seldom, so that conversations grow long
            caller.system = f"s{self.next_number()}"

    def hang_up(self, caller: Caller, choice: Choice) -> None:
        if not choice.share and not caller.is_running:
            self.sessions.forget(caller.name)
            self.owners = {slot: owner for slot, owner in self.owners.items() if owner is not caller}
            caller.has_slot = False

    @invariant()
    def no_slot_is_lost(self) -> None:
        statistics = self.sessions.statistics()
        assert statistics.slots_in_use == len(self.owners)
        assert statistics.running == sum(caller.is_running for caller in self.callers)
        assert 0 <= statistics.positions_in_use <= statistics.positions


def read(entries: Iterable[Entry]) -> Positions:
    return tuple(position for entry in entries for position in entry.read)


def courses(examples: int, steps: int) -> settings:
    return settings(max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=True, database=None)


def test_a_slot_holds_what_a_model_would_read_anew() -> None:
    run_state_machine_as_test(Conversations, settings=courses(8, 30))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_slot_holds_what_a_model_would_read_anew_in_many_courses() -> None:
    run_state_machine_as_test(Conversations, settings=courses(200, 50))


# -- against the package that the models were released with ----------------------------------------------------------

CHAT = "Respond with interleaved text and audio."
CLIP = np.linspace(-0.5, 0.5, 30_000, dtype=np.float32)
ITEMS: list[int | list[int]] = [104, 105, [1] * 8, [2] * 8, 106, [2048] * 8, 130, [3] * 8]


@pytest.mark.engine
def test_the_prompts_of_a_conversation_are_those_of_the_released_package() -> None:
    """Spoken and typed turns, replies that ended and one that was cut: each time, all that was read so far."""
    from liquid_audio import ChatState, LFM2AudioProcessor
    from liquid_audio.utils import mel2emb_len

    from tests.tiny_checkpoint import tiny_checkpoint

    processor = LFM2AudioProcessor.from_pretrained(tiny_checkpoint(), device="cpu")
    chat = ChatState(processor)
    sessions = SessionTable(
        slots=1,
        positions=1000,
        reply_positions=10,
        prompter=Prompter(lambda text: list(processor.text.encode(text, add_special_tokens=False))),
        speech_positions=lambda samples: int(mel2emb_len(samples // 160 + 1)),
    )
    add_turn(chat, "system", CHAT)
    history: list[HistoryItem] = []
    read: Positions = ()
    for question, ending in [(None, Ending.COMPLETE), ("And then?", Ending.CUT), (None, Ending.COMPLETE), ("", None)]:
        add_turn(chat, "user", question)
        chat.new_turn("assistant")
        asked = () if question is None else (user(question),)
        clip = SpeechPiece(CLIP) if question is None else None
        dialogue = Dialogue(mode=Mode.INTERLEAVED, system=CHAT, history=(*history, *asked), question=clip)
        lease = sessions.begin("anna", dialogue, 0.0)
        read = read[: lease.context_positions] + laid_out(lease.pieces, sessions._speech_positions)
        assert [position[:1] if position[0] == "speech" else position for position in read] == read_by_package(chat)
        if ending is not None:
            answer(lease)
            sessions.finish(lease, ending, 0.0)
            read += items_laid_out(ITEMS if ending is Ending.COMPLETE else ITEMS[:-1])
            append(chat, ITEMS)
        history += asked or (user("what was understood"),)
        history.append(assistant("xxxx"))


def answer(lease: Lease) -> None:
    for item in ITEMS:
        lease.emitted(item, "x" if isinstance(item, int) else "")


def items_laid_out(items: Sequence[int | list[int]]) -> Positions:
    return tuple(("token", item) if isinstance(item, int) else ("frame", *item) for item in items)


def add_turn(chat: Any, role: str, text: str | None) -> None:
    """Text, or the clip."""
    import torch

    chat.new_turn(role)
    if text is None:
        chat.add_audio(torch.from_numpy(CLIP)[None], 16_000)
    else:
        chat.add_text(text)
    chat.end_turn()


def append(chat: Any, items: Sequence[int | list[int]]) -> None:
    """A reply, as the package wants it back for the next turn."""
    import torch
    from liquid_audio import LFMModality

    modalities = [LFMModality.TEXT if isinstance(item, int) else LFMModality.AUDIO_OUT for item in items]
    chat.append(
        text=torch.tensor([[item for item in items if isinstance(item, int)]]),
        audio_out=torch.tensor([item for item in items if not isinstance(item, int)]).T,
        modality_flag=torch.tensor(modalities),
    )
    chat.end_turn()


def read_by_package(chat: Any) -> list[Position]:
    """What each position of the prompt holds; of speech, only that it is speech."""
    from liquid_audio import LFMModality

    tokens, frames = iter(chat.text[0].tolist()), iter(chat.audio_out.T.tolist())
    read: list[Position] = []
    for modality in chat.modality_flag[0].tolist():
        if modality == LFMModality.TEXT:
            read.append(("token", next(tokens)))
        else:
            read.append(("frame", *next(frames)) if modality == LFMModality.AUDIO_OUT else ("speech",))
    return read
