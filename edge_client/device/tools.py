"""Which of the caller's tools a sentence asks for, judged by the meaning of their names and descriptions."""

from __future__ import annotations

from typing import NamedTuple

from edge_client.device.sentence import POLITE_WORDS, Sentence, name_words
from routing.turns import Tool

# Verbs that ask for the same kind of thing at the head of a request.
_VERBS = tuple(
    frozenset(verbs.split())
    for verbs in (
        "search find look google browse",
        "play listen",
        "send text message write email mail",
        "call phone ring dial",
        "turn switch dim",
        "add put insert append",
        "book reserve order buy",
        "open close shut lock unlock",
        "translate",
        "convert",
    )
)
_TELLING = frozenset("i i'm i've my we we're our he she they this that it it's there".split())
_WISHES = frozenset("want need wonder wish please looking".split())
_ASKING = frozenset("can could would will you i want need to like hey hi hello so and then let's let us".split())


class Demand(NamedTuple):
    """How near a tool must lie before it is called, depending on what else could answer."""

    complete: float  # when all its arguments were said
    incomplete: float  # when something must be asked first

    def raised(self, by: float) -> Demand:
        return Demand(self.complete + by, self.incomplete + by)


ORDINARY = Demand(complete=0.38, incomplete=0.5)
SKILL_IS_CERTAIN = Demand(complete=0.44, incomplete=0.56)
SKILL_DECLINES = Demand(complete=0.22, incomplete=0.34)
STATEMENT = 0.2  # how much nearer it must lie if the words only tell something
SAME_VERB = 0.25  # what it adds to the likeness if the request begins with the tool's verb


def phrases(tool: Tool) -> tuple[str, ...]:
    """What a sentence is compared with."""
    name = " ".join(name_words(tool.name)) or tool.name
    return (name, tool.description, f"{name}: {tool.description}") if tool.description else (name,)


def begins_with_verb_of(tool: Tool, text: str) -> bool:
    """Whether a request such as "find me a hotel" asks for what the tool "search_hotels" does."""
    asked = next((word for word in Sentence(text).lower if word not in _ASKING | POLITE_WORDS), "")
    own = {*name_words(tool.name)[:1], *Sentence(tool.description).lower[:1]}
    return any(asked in verbs and own & verbs for verbs in _VERBS)


def is_statement(text: str) -> bool:
    """Whether somebody tells something instead of asking for it: "I like songs", "my house is warm"."""
    words = () if text.rstrip().endswith("?") else Sentence(text).lower
    return bool(words) and words[0] in _TELLING and not _WISHES.intersection(words)
