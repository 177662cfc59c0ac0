"""Who answers a request: one of the caller's tools, a skill, or else the language model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from edge_client.device.matcher import Matcher
from edge_client.device.skills import Answer, Request, Skill, SkillRegistry
from edge_client.device.tool_caller import ToolCaller
from edge_client.device.tools import (
    ORDINARY,
    SKILL_DECLINES,
    SKILL_IS_CERTAIN,
    STATEMENT,
    Demand,
    is_statement,
)
from routing.turns import HistoryItem, ToolCall, Turn

logger = logging.getLogger(__name__)

type Decision = ToolCall | Answer | None  # None: the language model answers

APOLOGY = "I'm sorry, something went wrong with that."
SKILL_PATIENCE_SEC = 5.0
KNOWN = 0.95
SHORTEST_KNOWN = 4  # words; "hello" and "set a timer" may be beginnings
DECLINING = 0.38  # how near a request must lie to one that cannot be met here, to look harder for a tool


class Near(NamedTuple):
    skill: Skill
    likeness: float


class Decider:
    """Tools come first, since the caller declared them; then skills, which are exact; then the language model."""

    def __init__(
        self,
        *,
        matcher: Matcher,
        tools: ToolCaller,
        skills: SkillRegistry,
        skill_likeness: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._matcher = matcher
        self._tools = tools
        self._skills = skills
        self._skill_likeness = skill_likeness
        self._clock = clock

    async def learn(self, turn: Turn | None = None) -> None:
        """Look at the skills, and the turn's tools, before the first question needs them."""
        await self._matcher.learn(self._skills.examples)
        if turn:
            await self._tools.learn(turn)

    async def decide(self, turn: Turn, text: str, history: tuple[HistoryItem, ...]) -> Decision:
        """The tool to call or what to say.

        Raises:
            BackendError: a model failed.
        """
        request = Request(text, self._clock(), history)
        certain = await _patiently(lambda: self._skills.recognising(request), "recognising a skill", None)
        near = await self._nearest(text)
        wanted = await self._tools.answer(turn, text, history, _demand(text, certain, near))
        if wanted is not None:
            return Answer(wanted) if isinstance(wanted, str) else wanted
        skill = certain or (near.skill if near and near.likeness >= self._skill_likeness else None)
        if skill is None:
            return None
        return await _patiently(lambda: skill.answer(request), f"the skill {skill.name}", Answer(APOLOGY))

    async def knows(self, text: str) -> bool:
        """Whether this is one of the sentences that skills were made for, so that nothing needs to follow it."""
        near = await self._nearest(text) if len(text.split()) >= SHORTEST_KNOWN else None
        return near is not None and near.likeness >= KNOWN

    async def _nearest(self, text: str) -> Near | None:
        examples = self._skills.examples
        if not examples:
            return None
        likeness = await self._matcher.likeness(text, examples)
        best = int(likeness.argmax())
        return Near(self._skills.owner(best), float(likeness[best]))


def _demand(text: str, certain: Skill | None, near: Near | None) -> Demand:
    if certain:
        return SKILL_IS_CERTAIN
    if is_statement(text):
        return ORDINARY.raised(by=STATEMENT)
    declined = near is not None and near.skill.declines and near.likeness >= DECLINING
    return SKILL_DECLINES if declined else ORDINARY


async def _patiently[T](work: Callable[[], T], name: str, otherwise: T) -> T:
    """What ``work`` returns, on a thread. If it fails or dawdles, that costs its answer, not the session."""
    try:
        async with asyncio.timeout(SKILL_PATIENCE_SEC):
            return await asyncio.to_thread(work)
    except TimeoutError:
        logger.warning("%s took longer than %g s", name, SKILL_PATIENCE_SEC)
    except Exception:
        logger.exception("%s failed", name)
    return otherwise
