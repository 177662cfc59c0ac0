"""The language model's reply, clause by clause while it is being written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

from edge_client.device.calls import stream
from edge_client.device.clauses import ClauseCutter, ends_sentence
from edge_client.device.prompt import STOP

if TYPE_CHECKING:
    from edge_client.models.library import Hosted
    from edge_client.models.smollm2 import SmolLM2

SPEECHLESS = "I'm not sure about that."


async def chatter(
    language: Hosted[SmolLM2], prompt: str, *, max_tokens: int, max_sentences: int
) -> AsyncGenerator[str]:
    """At most ``max_sentences`` of them, without what goes round in circles or is left unfinished behind a whole one.

    Raises:
        BackendError: the model failed.
    """
    said: list[str] = []
    async with aclosing(_clauses(language, prompt, max_tokens)) as clauses:
        async for clause in clauses:
            if _is_repetition(clause, said) or _is_circle(clause) or _is_leftover(clause, said):
                break
            yield clause if said else clause.lstrip()
            said.append(clause)
            if sum(map(ends_sentence, said)) >= max_sentences:
                break
    if not said:
        yield SPEECHLESS


async def _clauses(language: Hosted[SmolLM2], prompt: str, max_tokens: int) -> AsyncGenerator[str]:
    """Whole clauses as soon as they stand, and in the end what is left."""

    def write(model: SmolLM2, emit: Callable[[str], bool]) -> None:
        model.generate(prompt, max_tokens=max_tokens, stop=STOP, emit=emit)

    cutter = ClauseCutter(eager=True)
    async with aclosing(stream(language, write)) as pieces:
        async for piece in pieces:
            for clause in cutter.feed(piece):
                yield clause
    for clause in cutter.flush():
        if clause.strip():
            yield clause


def _is_repetition(clause: str, said: list[str]) -> bool:
    return clause.strip() in (earlier.strip() for earlier in said)


def _is_circle(clause: str) -> bool:
    """Whether three words come back: "a volcano is a volcano is a volcano"."""
    words = clause.lower().split()
    threes = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(threes)) < len(threes)


def _is_leftover(clause: str, said: list[str]) -> bool:
    return bool(said) and ends_sentence(said[-1]) and not ends_sentence(clause)
