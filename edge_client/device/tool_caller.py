"""Turning a request into a call of one of the caller's tools, or into a question for what it lacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_client.device.arguments import (
    Ask,
    asks_in,
    plan_arguments,
    prompt_for,
    settled,
)
from edge_client.device.calls import stream
from edge_client.device.form_field import Lack, Missing, is_question_for_argument, which
from edge_client.device.grammar import Series, Text, gbnf, only_text
from edge_client.device.matcher import Matcher
from edge_client.device.sentence import Sentence
from edge_client.device.tools import SAME_VERB, Demand, begins_with_verb_of, phrases
from routing.errors import BackendError
from routing.turns import HistoryItem, Message, Tool, ToolCall, Turn

if TYPE_CHECKING:
    from edge_client.models.library import Hosted
    from edge_client.models.smollm2 import SmolLM2

TELLING_APART = 0.05  # by how much words must be more like the argument than like the tool as a whole
ARGUMENT_TOKENS = 60
MOST_TOOLS = 128  # beyond these, tools are not looked at


class Nearest(NamedTuple):
    tool: Tool
    likeness: float


@dataclass(frozen=True, slots=True)
class Form:
    """A tool's arguments; where some are ``missing``, the others are of no use, or those are guesses."""

    arguments: Any
    missing: tuple[Missing, ...]


class ToolCaller:
    """Chooses a tool by meaning, and fills in its arguments from the user's words."""

    def __init__(self, matcher: Matcher, language: Hosted[SmolLM2]) -> None:
        self._matcher = matcher
        self._language = language

    async def learn(self, turn: Turn) -> None:
        """Look at the turn's tools while the user still speaks."""
        await self._matcher.learn([phrase for tool in offered(turn) for phrase in phrases(tool)])

    async def answer(
        self, turn: Turn, text: str, history: Sequence[HistoryItem], demand: Demand
    ) -> ToolCall | str | None:
        """The call of a tool that is near enough, a question for what it lacks, or None if there is no such tool.

        Raises:
            BackendError: a model failed.
        """
        for words in _readings(history, text):
            outcome = await self._attempt(turn, words, demand)
            if outcome is not None and outcome != _last_answer(history):
                return outcome
        return None

    async def _attempt(self, turn: Turn, words: Sequence[str], demand: Demand) -> ToolCall | str | None:
        tools, forced = offered(turn), turn.tool_choice not in ("auto", "none")
        if not tools:
            return None
        nearest = await self._nearest(tools, words[0])
        if nearest.likeness < demand.complete and not forced:
            return None
        form = await self._form(nearest.tool, " ".join(words), guess=forced)
        if not form.missing or forced:
            arguments = json.dumps(form.arguments)
            return ToolCall(_call_id(turn), nearest.tool.name, arguments)
        return form.missing[0].question if nearest.likeness >= demand.incomplete else None

    async def _nearest(self, tools: Sequence[Tool], text: str) -> Nearest:
        likenesses = [await self._likeness(tool, text) for tool in tools]
        return max(map(Nearest, tools, likenesses), key=lambda near: near.likeness)

    async def _likeness(self, tool: Tool, text: str) -> float:
        likeness = await self._matcher.likeness(text, phrases(tool))
        return float(likeness.max()) + (SAME_VERB if begins_with_verb_of(tool, text) else 0)

    async def _form(self, tool: Tool, text: str, *, guess: bool) -> Form:
        plan, missing = plan_arguments(tool, text)
        if missing and not guess:
            return Form({}, missing)
        answers, doubtful = dict[Ask, Any](), list[Missing]()
        for ask in asks_in(plan):
            answer = await self._choose(ask, text)
            if not ask.meanings or await self._is_likely(tool, ask, answer, Sentence(text)):
                answers[ask] = answer
            elif ask.lack is Lack.NULL:
                answers[ask] = None
            elif ask.lack is Lack.ASK:
                answers[ask] = answer
                doubtful.append(which(ask.name))
        return Form(settled(plan, answers), (*doubtful, *missing))

    async def _choose(self, ask: Ask, text: str) -> Any:
        """The one text there is, or the language model's choice."""
        written = only_text(ask.expression) or await self._written(ask, text)
        try:
            return json.loads(written)
        except ValueError as error:  # it ran out of tokens
            raise BackendError(f"no argument {ask.name!r} was found") from error

    async def _written(self, ask: Ask, text: str) -> str:
        grammar, prompt = gbnf(Series((Text(" "), ask.expression))), prompt_for(ask, text)

        def write(model: SmolLM2, emit: Callable[[str], bool]) -> None:
            model.generate(prompt, max_tokens=ARGUMENT_TOKENS, stop=("\n",), grammar=grammar, emit=emit)

        async with aclosing(stream(self._language, write)) as pieces:
            return "".join([piece async for piece in pieces])

    async def _is_likely(self, tool: Tool, ask: Ask, words: str, sentence: Sentence) -> bool:
        """Whether ``words`` are such a thing: "Berlin" is more like a city than like weather, "umbrella" is not."""
        if sentence.presents_as_name(words):
            return True
        like = await self._matcher.likeness(words, [*ask.meanings, *phrases(tool)])
        lead = like[: len(ask.meanings)].max() - like[len(ask.meanings) :].max()
        return bool(lead >= (0 if sentence.presents_with_preposition(words) else TELLING_APART))


def offered(turn: Turn) -> tuple[Tool, ...]:
    """The tools that may be called in this turn."""
    match turn.tool_choice:
        case "none":
            return ()
        case "auto" | "required":
            return turn.tools[:MOST_TOOLS]
    return tuple(tool for tool in turn.tools if tool.name == turn.tool_choice)


def _call_id(turn: Turn) -> str:
    """The same one whenever the turn is answered again, on whatever machine. A turn makes one call."""
    return f"call_{sha256(f'{turn.session_id} {turn.turn_id}'.encode()).hexdigest()[:20]}"


def _readings(history: Sequence[HistoryItem], text: str) -> Iterator[tuple[str, ...]]:
    """The words as an answer to what we asked, together with what led to it; then by themselves."""
    earlier: list[str] = []
    messages = [item for item in history if isinstance(item, Message) and item.role != "system"]
    while len(messages) > 1 and messages[-2].role == "user" and is_question_for_argument(messages[-1].text):
        earlier.insert(0, messages[-2].text)
        del messages[-2:]
    if earlier:
        yield (*earlier, text)
    yield (text,)


def _last_answer(history: Sequence[HistoryItem]) -> str | None:
    said = (item.text for item in reversed(history) if isinstance(item, Message) and item.role == "assistant")
    return next(said, None)
