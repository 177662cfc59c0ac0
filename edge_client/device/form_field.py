"""One argument of a tool, as its JSON schema describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Any, NamedTuple

from edge_client.device.sentence import name_words

MOST_OPTIONS = 300  # of one field
MOST_REFERENCES = 4  # followed one after the other
# Names of arguments that take what was said as it was said.
FREE_TEXT = frozenset("query question search text message content body note prompt topic title task words".split())

_QUESTION_BEGINNINGS = ("Which ", "What is the ", "How many ", "Yes or no: ")


class Lack(Enum):
    """What to do about an argument that was not said after all."""

    ASK = "ask"
    LEAVE_OUT = "leave out"
    NULL = "null"


class Missing(NamedTuple):
    """An argument that the tool needs and the user did not mention, and how to ask for it."""

    name: str
    question: str


def which(name: str) -> Missing:
    return Missing(name, f"Which {' '.join(name_words(name)) or name}?")


def is_question_for_argument(text: str) -> bool:
    """Whether we said this to be told an argument."""
    return text.startswith(_QUESTION_BEGINNINGS) and text.endswith("?")


@dataclass(frozen=True, slots=True)
class FormField:
    """``kind`` is its JSON type; one that is ``required`` may still be allowed to be null."""

    name: str
    schema: Mapping[str, Any]
    kind: str
    required: bool
    nullable: bool

    @property
    def needed(self) -> bool:
        return self.required and not self.nullable

    @property
    def lack(self) -> Lack:
        if self.required:
            return Lack.NULL if self.nullable else Lack.ASK
        return Lack.LEAVE_OUT

    @property
    def request(self) -> Missing:
        """How to ask for its value."""
        words = " ".join(name_words(self.name)) or self.name
        if options := options_of(self.schema):
            return Missing(self.name, f"Which {words}: {_listed([str(option) for option in options[:4]])}?")
        if self.kind == "boolean":
            return Missing(self.name, f"Yes or no: {words}?")
        if self.is_numeric and words.endswith(("s", "people")):
            return Missing(self.name, f"How many {words}?")
        if self.is_numeric or FREE_TEXT.intersection(name_words(self.name)):
            return Missing(self.name, f"What is the {words}?")
        return which(self.name)

    @property
    def meanings(self) -> tuple[str, ...]:
        """What its value is like. A name of one letter says nothing."""
        name, description = " ".join(name_words(self.name)), self.schema.get("description")
        told = (description,) if isinstance(description, str) and description else ()
        return (name, *told) if len(name) > 2 else told

    @property
    def is_numeric(self) -> bool:
        return self.kind in ("integer", "number") and "enum" not in self.schema and "const" not in self.schema

    def allows(self, number: Fraction) -> bool:
        if self.kind == "integer" and number.denominator > 1:
            return False
        low, high = self.schema.get("minimum"), self.schema.get("maximum")
        above = not isinstance(low, int | float) or number >= low
        return above and (not isinstance(high, int | float) or number <= high)


def field_of(name: str, schema: Any, *, required: bool, definitions: Mapping[str, Any]) -> FormField:
    """Follow references and see through the ways in which null is allowed."""
    part, nullable = mapping(schema), False
    for _ in range(MOST_REFERENCES):
        part = mapping(definitions.get(str(part.get("$ref")), part))
        options = [mapping(option) for option in sequence(part.get("anyOf") or part.get("oneOf"))]
        if not options:
            break
        nullable = nullable or any(option.get("type") == "null" for option in options)
        part = next((option for option in options if option.get("type") != "null"), {})
    types = sequence(part.get("type")) or [part.get("type")]
    kind = next((kind for kind in types if isinstance(kind, str) and kind != "null"), "string")
    return FormField(name, part, kind, required, nullable or "null" in types)


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def options_of(schema: Mapping[str, Any]) -> Sequence[Any]:
    return sequence(schema.get("enum"))[:MOST_OPTIONS]


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
