"""Skills answer exactly, change nothing, and are extended by naming a module."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from types import ModuleType

import pytest

from edge_client.device.clock_skill import calendar, clock
from edge_client.device.skills import Answer, Request, Skill, SkillRegistry, load_skills, skill
from edge_client.device.talk_skill import callers_name, echo, greeting, introduction, joke, repetition
from edge_client.device.timer_skill import ASK_WHEN, timer, timer_change
from routing.errors import SettingsError
from routing.turns import HistoryItem, Message, Reminder, ToolCall

NOW = datetime(2026, 11, 22, 15, 45, tzinfo=UTC)


def asked(text: str, *history: HistoryItem) -> Request:
    return Request(text, NOW, history)


def said(found: Skill, text: str, *history: HistoryItem) -> str | None:
    answer = found.answer(asked(text, *history))
    return answer.text if answer else None


# -- time and date -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("What time is it?", "It's 3:45 PM."),
        ("What time is it in Tokyo?", "In Tokyo it's 12:45 AM."),
        ("What's the time in New York right now?", "In New York it's 10:45 AM."),
        ("What time is it in Atlantis?", "I don't know the time in Atlantis. Here it's 3:45 PM."),
    ],
)
def test_the_clock(text: str, answer: str) -> None:
    assert said(clock, text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("What's the date?", "It's Sunday, November 22."),
        ("What day is tomorrow?", "Tomorrow is Monday, November 23."),
        ("What day was it yesterday?", "Yesterday was Saturday, November 21."),
        ("Which year is it?", "It's 2026."),
    ],
)
def test_the_calendar(text: str, answer: str) -> None:
    assert said(calendar, text) == answer


# -- timers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answer", "delay_sec", "reminder"),
    [
        (
            "Set a timer for ten minutes.",
            "Your timer is set for 10 minutes.",
            600,
            "Your timer for 10 minutes is up.",
        ),
        (
            "Timer, half an hour, please.",
            "Your timer is set for 30 minutes.",
            1800,
            "Your timer for 30 minutes is up.",
        ),
        (
            "Remind me in twenty minutes to call my mother.",
            "OK, I'll remind you in 20 minutes: call your mother.",
            1200,
            "Here is your reminder: call your mother.",
        ),
        (
            "Remind me to take the cake out of the oven in 45 minutes please",
            "OK, I'll remind you in 45 minutes: take the cake out of the oven.",
            2700,
            "Here is your reminder: take the cake out of the oven.",
        ),
        (
            "Remind me at five thirty that I am late for Anna.",
            "OK, I'll remind you at 5:30 PM: you are late for Anna.",
            6300,
            "Here is your reminder: you are late for Anna.",
        ),
        ("Remind me in a minute.", "OK, I'll remind you in 1 minute.", 60, "Here is your reminder."),
        (
            "Wake me up at half past six in the morning.",
            "Your alarm will ring at 6:30 AM tomorrow.",
            53_100,
            "Good day! This is your alarm.",
        ),
    ],
)
def test_timers_and_reminders(text: str, answer: str, delay_sec: float, reminder: str) -> None:
    assert timer.recognises(asked(text))
    assert timer.answer(asked(text)) == Answer(answer, (Reminder(delay_sec, reminder),))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Set a timer.", "For how long?"),
        ("Set a timer for zero seconds", "For how long?"),
        ("Remind me to call mom.", ASK_WHEN),
        ("Remind me in two days to breathe.", "I can only remember things for a day."),
    ],
)
def test_without_a_usable_time_nothing_is_set(text: str, answer: str) -> None:
    assert timer.answer(asked(text)) == Answer(answer)


def test_the_answer_to_our_question_completes_the_request() -> None:
    history = (Message("user", "Remind me to call mom."), Message("assistant", ASK_WHEN))
    assert timer.recognises(asked("In ten minutes.", *history))
    assert timer.answer(asked("In ten minutes.", *history)) == Answer(
        "OK, I'll remind you in 10 minutes: call mom.", (Reminder(600, "Here is your reminder: call mom."),)
    )


def test_a_timer_that_is_set_cannot_be_taken_back() -> None:
    assert not timer.recognises(asked("Cancel the ten minute timer."))
    assert timer.answer(asked("Cancel the ten minute timer.")) is None
    assert said(timer_change, "Cancel the timer.") == "I'm sorry, I can't change or read a timer once it is set."


# -- talk --------------------------------------------------------------------------------------------------------------


def test_the_last_answer_is_repeated() -> None:
    history = (
        Message("user", "one"),
        Message("assistant", "First."),
        Message("user", "two"),
        Message("assistant", "Second."),
        ToolCall("call_1", "tool", "{}"),
    )
    assert said(repetition, "Say that again.", *history) == "Second."
    assert said(echo, "What did I say?", *history) == "You said: two"
    assert said(repetition, "Say that again.") == "I haven't said anything yet."


def test_greetings_fit_the_time_of_day_the_caller_sees() -> None:
    assert said(greeting, "Good evening!") == "Good evening! What can I do for you?"


def test_a_name_is_remembered_from_the_conversation() -> None:
    assert said(introduction, "My name is anna.") == "Nice to meet you, Anna."
    history = (Message("user", "Hi, my name is anna."), Message("assistant", "Nice to meet you, Anna."))
    assert said(callers_name, "What's my name?", *history) == "Your name is Anna."
    assert said(callers_name, "What's my name?") == "You haven't told me your name."


def test_the_same_reply_asked_for_again_is_the_same_joke_and_the_next_turn_brings_another() -> None:
    history = (Message("user", "Tell me a joke."), Message("assistant", "..."))
    assert said(joke, "Tell me a joke.") == said(joke, "Tell me a joke.")
    assert said(joke, "Another one.", *history) != said(joke, "Tell me a joke.")


# -- extending ---------------------------------------------------------------------------------------------------------


@skill("what is two plus two", "who lives here")
def neighbour(_request: Request) -> str:
    return "Four people."


def test_a_module_of_skills_comes_before_the_built_in_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("my_skills")
    module.neighbour = neighbour  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_skills", module)
    registry = load_skills(["my_skills"])
    assert registry.skills[0] is neighbour
    assert registry.owner(registry.examples.index("what is two plus two")) is neighbour
    assert registry.recognising(asked("Set a timer for a minute.")) is timer


@pytest.mark.parametrize(
    ("module", "message"), [("no_such_module", "cannot be imported"), ("json", "holds no skill: decorate")]
)
def test_a_module_that_does_not_help_is_named(module: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_skills([module])


def test_examples_of_different_built_in_skills_never_clash() -> None:
    examples = load_skills().examples
    assert len(set(examples)) == len(examples)


def test_a_skill_that_returns_something_else_is_a_mistake() -> None:
    wrong = skill("x")(lambda request: 5)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="returns text, an Answer or None, not int"):
        wrong.answer(asked("x"))


def test_a_recogniser_that_fails_does_not_hide_the_others() -> None:
    def failing(_request: Request) -> bool:
        raise RuntimeError("boom")

    broken = skill("x", recognises=failing)(lambda request: "x")
    assert SkillRegistry([broken, timer]).recognising(asked("Set a timer for a minute.")) is timer
