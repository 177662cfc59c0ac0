"""What the device can answer exactly, without asking a language model; extended in Python.

A skill is a function from a request to the words of an answer, with a few sentences that ask for it::

    from edge_client.device.skills import Request, skill

    @skill("who made you", "who are your developers")
    def makers(request: Request) -> str:
        return "I was made by the people of Example Street."

A module of such functions is named in the device's ``skills`` setting ("my_package.my_skills") and needs to do nothing
else: every skill found in it is used. The function is called while it is not yet sure that the user has finished,
perhaps several times, and its answer may never be heard. So it must change nothing in the world: effects are
returned, as reminders. It runs on a thread of its own and may take a moment; what it raises becomes an apology.
Where it returns None the request was not for it, and the language model answers.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from routing.errors import SettingsError
from routing.turns import HistoryItem, Message, Reminder

logger = logging.getLogger(__name__)

BUILT_IN = (
    "edge_client.device.clock_skill",
    "edge_client.device.timer_skill",
    "edge_client.device.arithmetic_skill",
    "edge_client.device.talk_skill",
)


@dataclass(frozen=True, slots=True)
class Request:
    """One question: the user's words, the local time with its zone, and what was said before."""

    text: str
    now: datetime
    history: tuple[HistoryItem, ...] = ()

    @property
    def last_answer(self) -> str | None:
        """What the assistant said last, as far as it was heard."""
        return self._last_of("assistant")

    @property
    def last_question(self) -> str | None:
        """What the user said before this."""
        return self._last_of("user")

    def _last_of(self, role: str) -> str | None:
        messages = (item for item in reversed(self.history) if isinstance(item, Message))
        return next((message.text for message in messages if message.role == role), None)


@dataclass(frozen=True, slots=True)
class Answer:
    """What to say, and what shall happen once it is said."""

    text: str
    reminders: tuple[Reminder, ...] = ()


type Skilled = Callable[[Request], Answer | str | None]


def _never(_request: Request) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Skill:
    """``examples`` are sentences near which a request must lie; ``recognises`` may claim others for certain.

    A skill that ``declines`` only says what cannot be done here; one of the caller's tools may be able to.
    """

    name: str
    examples: tuple[str, ...]
    function: Skilled
    recognises: Callable[[Request], bool] = _never
    declines: bool = False

    def answer(self, request: Request) -> Answer | None:
        said = self.function(request)
        if isinstance(said, str):
            return Answer(said)
        if said is None or isinstance(said, Answer):
            return said
        raise TypeError(f"a skill returns text, an Answer or None, not {type(said).__name__}")


def skill(
    *examples: str, recognises: Callable[[Request], bool] = _never, declines: bool = False
) -> Callable[[Skilled], Skill]:
    """Make a function a skill that answers sentences like ``examples``."""

    def decorate(function: Skilled) -> Skill:
        name = f"{function.__module__}.{function.__qualname__}"
        return Skill(name, examples, function, recognises, declines)

    return decorate


class SkillRegistry:
    """All skills of a device. Where two fit equally well, the earlier one is taken."""

    def __init__(self, skills: Iterable[Skill]) -> None:
        self.skills = tuple(skills)
        self._examples = tuple((example, skill) for skill in self.skills for example in skill.examples)

    @property
    def examples(self) -> tuple[str, ...]:
        return tuple(example for example, _ in self._examples)

    def owner(self, example: int) -> Skill:
        """The skill that ``examples[example]`` stands for."""
        return self._examples[example][1]

    def recognising(self, request: Request) -> Skill | None:
        """The first skill that is certain of the request."""
        return next((skill for skill in self.skills if _is_certain(skill, request)), None)


def _is_certain(skill: Skill, request: Request) -> bool:
    try:
        return skill.recognises(request)
    except Exception:
        logger.exception("the skill %s failed to recognise a request", skill.name)
        return False


def load_skills(modules: Iterable[str] = ()) -> SkillRegistry:
    """The skills of the named modules, and behind them the built-in ones.

    Raises:
        SettingsError: a module cannot be imported, or holds no skill.
    """
    return SkillRegistry(found for name in (*modules, *BUILT_IN) for found in _skills_of(name))


def _skills_of(module_name: str) -> Iterator[Skill]:
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise SettingsError(f"the skill module {module_name!r} cannot be imported: {error}") from error
    found = [value for value in vars(module).values() if isinstance(value, Skill)]
    if not found:
        raise SettingsError(f"the module {module_name!r} holds no skill: decorate a function with @skill(...)")
    yield from found
