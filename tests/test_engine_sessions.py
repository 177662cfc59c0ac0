"""Each session's conversation is computed once, as long as its slot agrees with what the edge says was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from deployments.engine.prompt import Dialogue, Mode, Prompter, SpeechPiece
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
