"""A tool's arguments, taken from what the user said.

What can be read off the sentence is read off: numbers in the order they were said, the one option that was mentioned,
yes or no. Where several words could be meant, the language model is asked, but may only choose among the
user's own words. So a very small model fills in forms reliably, and cannot invent a city.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from itertools import islice
from typing import Any, NamedTuple

from edge_client.device.form_field import (
    FREE_TEXT,
    FormField,
    Lack,
    Missing,
    field_of,
    mapping,
    options_of,
    sequence,
)
from edge_client.device.grammar import Expression, Figure, Series, Text, choice, only_text, spans
from edge_client.device.prompt import QUESTION_BYTES, ending
from edge_client.device.sentence import (
    FUNCTION_WORDS,
    POLITE_WORDS,
    TIME_WORDS,
    Sentence,
    is_number_word,
    name_words,
    stem,
)
from routing.turns import Tool

DEEPEST_NESTING = 4
MOST_FIELDS = 64  # of one tool, nested ones included: schemas that refer to themselves grow without end

FORM_EXAMPLES = """\
Copy the words asked for from the sentence.
Sentence: set an alarm for seven thirty please
time: "seven thirty"
Sentence: play yesterday by the beatles
artist: "the beatles"
Sentence: how long does it take to drive to new orleans from here
destination: "new orleans"
Sentence: add oat milk to my shopping list
item: "oat milk"
"""
_QUOTED = frozenset("text message content body note".split())  # what is said to somebody
_QUOTING = ("saying", "says", "that")
_QUESTION_WORDS = frozenset("how who why what what's when where which whose".split())
_CARRIERS = frozenset("search google look browse web internet online information info".split())
_NO = frozenset("no not don't off out disable disabled false without stop deactivate never".split())
# Names of arguments that a preposition tells apart: "from Paris to Rome".
_SOURCES = frozenset("from source origin departure start".split())
_TARGETS = frozenset("to target destination arrival end".split())
_YES = frozenset("yes on enable enabled true with start activate".split())
_EXAMPLE_IN_DESCRIPTION = re.compile(r"\(|\be\.?g\.?\b|\bfor example\b|\bsuch as\b|\blike\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Ask:
    """Which of the texts of ``expression``, each a JSON value, is ``name``?

    Where they are the user's words, ``meanings`` says what they should be like; else it is empty.
    """

    name: str
    expression: Expression
    meanings: tuple[str, ...] = ()
    lack: Lack = Lack.ASK


type Plan = str | int | float | bool | list[Plan] | dict[str, Plan] | Ask | None


class Arguments(NamedTuple):
    """``plan`` is complete but for its `Ask`s; where something is missing it holds a guess."""

    plan: Plan
    missing: tuple[Missing, ...]


class _Nothing(Enum):
    """Not mentioned; None is a value in JSON."""

    MENTIONED = 0


_NOTHING = _Nothing.MENTIONED


def plan_arguments(tool: Tool, text: str) -> Arguments:
    planner = _Planner(tool, Sentence(text))
    plan = planner.fields(tool.parameters, depth=0)
    return Arguments(plan, tuple(planner.missing))


def asks_in(plan: Plan) -> Iterator[Ask]:
    """Every question that is open, in the order of the arguments."""
    match plan:
        case Ask():
            yield plan
        case list():
            for part in plan:
                yield from asks_in(part)
        case dict():
            for part in plan.values():
                yield from asks_in(part)


def settled(plan: Plan, answers: Mapping[Ask, Any]) -> Any:
    """The plan with every question replaced by its answer; fields whose question has none are left out."""
    match plan:
        case Ask():
            return answers[plan]
        case list():
            return [settled(part, answers) for part in plan]
        case dict():
            kept = {name: part for name, part in plan.items() if not isinstance(part, Ask) or part in answers}
            return {name: settled(part, answers) for name, part in kept.items()}
    return plan


def prompt_for(ask: Ask, text: str) -> str:
    """Ends before the space that the answer begins with."""
    sentence = ending(" ".join(Sentence(text).words), QUESTION_BYTES)
    return f"{FORM_EXAMPLES}Sentence: {sentence}\n{' '.join(name_words(ask.name))}:"


class _Planner:
    """Walks one tool's schema. Numbers are handed out in the order they were said."""

    def __init__(self, tool: Tool, sentence: Sentence) -> None:
        self.missing: list[Missing] = []
        self._sentence = sentence
        self._definitions = {
            f"#/{key}/{name}": schema
            for key in ("$defs", "definitions")
            for name, schema in mapping(tool.parameters.get(key)).items()
        }
        self._known = {*name_words(tool.name), *_description_words(tool.description)}
        self._numbers = list(sentence.numbers)
        self._numbers_needed = 0
        self._room = MOST_FIELDS
        self._words_taken = False

    def fields(self, schema: Mapping[str, Any], depth: int = 0) -> dict[str, Plan]:
        """The needed fields first, since they have the first claim to what was said; then in the schema's order."""
        required = {str(name) for name in sequence(schema.get("required"))}
        parts = islice(mapping(schema.get("properties")).items(), self._room)
        fields = {name: self._field(name, part, required=name in required) for name, part in parts}
        self._room -= len(fields)
        self._numbers_needed = sum(field.needed and field.is_numeric for field in fields.values())
        found = dict[str, Plan]()
        for field in sorted(fields.values(), key=lambda field: not field.needed):
            value = self._value(field, depth)
            if value is _NOTHING and field.needed:
                value = self._guess(field)
            if value is _NOTHING and field.required:
                value = None
            if value is not _NOTHING:
                found[field.name] = value
        return {name: found[name] for name in fields if name in found}

    def _field(self, name: str, schema: Any, *, required: bool) -> FormField:
        return field_of(name, schema, required=required, definitions=self._definitions)

    def _value(self, field: FormField, depth: int) -> Plan | _Nothing:
        """What the sentence says about ``field``."""
        if "const" in field.schema:
            value: Plan = field.schema["const"]
            return value
        if options := options_of(field.schema):
            return self._option(field, options)
        match field.kind:
            case "boolean":
                return self._yes_or_no(field)
            case "integer" | "number":
                return self._number(field)
            case "array":
                return self._list(field, depth)
            case "object":
                return self._object(field, depth)
        return self._words(field)

    def _guess(self, field: FormField) -> Plan:
        """Something that fits the schema, for callers that insist on the tool. It counts as missing."""
        options = options_of(field.schema)
        self.missing.append(field.request)
        if options:
            return _one_of(field.name, [_json(option) for option in options])
        match field.kind:
            case "boolean":
                return _one_of(field.name, ["true", "false"])
            case "integer" | "number":
                return Ask(field.name, Figure())
            case "array":
                return []
            case "object":
                return {}
        places = range(len(self._sentence.words))
        return Ask(field.name, self._stretches(places, places)) if places else ""

    # -- kinds of value ------------------------------------------------------------------------------------------------

    def _option(self, field: FormField, options: Sequence[Any]) -> Plan | _Nothing:
        said = [option for option in options if self._says_option(option)]
        longest = [option for option in said if not any(_within(option, other) for other in said)]
        if {"on", "off"} <= {str(option).lower() for option in longest}:  # "turn the light on the porch off"
            longest = [option for option in longest if str(option).lower() != "on"]
        return _one_of(field.name, [_json(option) for option in longest]) if longest else _NOTHING

    def _says_option(self, option: Any) -> bool:
        if isinstance(option, str):
            return self._sentence.mentions(" ".join(name_words(option))) or self._sentence.mentions(option)
        return isinstance(option, int | float) and Fraction(option) in self._sentence.numbers

    def _yes_or_no(self, field: FormField) -> Plan | _Nothing:
        said = set(self._sentence.lower)
        if said & _NO:
            return False
        named = bool(said & set(name_words(field.name)))
        return True if named or (field.needed and said & _YES) else _NOTHING

    def _number(self, field: FormField) -> Plan | _Nothing:
        """The next number; where there are more numbers than fields, one of those that leave enough for the rest."""
        fitting = [number for number in self._numbers if field.allows(number)]
        if not fitting:
            return _NOTHING
        spare = len(fitting) - max(1, self._numbers_needed)
        self._numbers_needed -= 1
        if not field.needed or spare <= 0:
            self._numbers.remove(fitting[0])
            return _plain_number(fitting[0])
        self._numbers.remove(fitting[0])
        return _one_of(field.name, [_json(_plain_number(number)) for number in fitting[: spare + 1]])

    def _list(self, field: FormField, depth: int) -> Plan | _Nothing:
        items = self._field(field.name, field.schema.get("items"), required=True)
        if options := options_of(items.schema):
            said = [option for option in options if self._says_option(option)]
            return said or _NOTHING
        if items.is_numeric:
            numbers = [_plain_number(number) for number in self._numbers if items.allows(number)]
            self._numbers.clear()
            return [*numbers] or _NOTHING
        if items.kind == "object":
            inner = self._object(items, depth)
            return _NOTHING if inner is _NOTHING else [inner]
        return [*self._enumerated()] or _NOTHING

    def _enumerated(self) -> Iterator[str]:
        """Runs of content words, parted by commas and little words: "oat milk, eggs and bread"."""
        content, run = self._content(), list[str]()
        for place, word in enumerate(self._sentence.words):
            if place in content:
                run.append(word)
            if run and (place not in content or place in self._sentence.commas):
                yield " ".join(run)
                run = []
        if run:
            yield " ".join(run)

    def _object(self, field: FormField, depth: int) -> Plan | _Nothing:
        if depth >= DEEPEST_NESTING:
            return _NOTHING
        inner = self.fields(field.schema, depth + 1)
        return inner if inner or field.needed else _NOTHING

    def _words(self, field: FormField) -> Plan | _Nothing:
        """A string: a stretch of the sentence."""
        names = set(name_words(field.name))
        if names & FREE_TEXT:
            return self._free_text(names)
        content = self._content(names)
        named = any(self._sentence.mentions(name) for name in names)
        if not content or (self._words_taken and not field.needed and not named):
            return _NOTHING
        self._words_taken = True
        if part := self._part_in_journey(names, content):
            return Ask(field.name, self._stretches({part[0]}, {part[-1]}), lack=field.lack)
        behind = {place + 1 for place in content}
        ends = {place for place in behind if place < len(self._sentence.words) and self._sentence.lower[place] in names}
        return Ask(field.name, self._stretches(content, {*content, *ends}), field.meanings, field.lack)

    def _part_in_journey(self, names: set[str], content: Sequence[int]) -> Sequence[int]:
        """The words behind "to" or "from", for an argument that is one end of something; or else those before "to"."""
        runs = _runs_of(content)
        behind = {self._word_before(run[0]): run for run in reversed(runs)}
        target = behind.get("to") or behind.get("into") or []
        if names & _TARGETS:
            return target
        if not names & _SOURCES:
            return []
        before = [run for run in runs if target and run[-1] < target[0]]
        return behind.get("from") or (before[-1] if before else [])

    def _word_before(self, place: int) -> str:
        """The word before, articles aside."""
        words = [word for word in self._sentence.lower[:place] if word not in ("the", "a", "an")]
        return words[-1] if words else ""

    def _content(self, names: Collection[str] = ()) -> list[int]:
        """Words that may be an argument. Times are left to fields that ask for one, numbers to numeric ones."""
        known = {stem(word) for word in (*self._known, *names)}
        if not {"time", "date", "day", "when"}.intersection(names):
            known |= TIME_WORDS
        numeric = bool(self._sentence.numbers) and len(self._numbers) < len(self._sentence.numbers)
        places = self._sentence.content(known)
        return [place for place in places if not (numeric and is_number_word(self._sentence.lower[place]))]

    def _stretches(self, starts: Collection[int], ends: Collection[int]) -> Expression:
        words = [_json(word)[1:-1] for word in self._sentence.words]
        return Series((Text('"'), spans(words, starts, ends), Text('"')))

    def _free_text(self, names: set[str]) -> Plan | _Nothing:
        """All that follows the request: "search the web for" and then the query."""
        lower = self._sentence.lower
        quoted = [place + 1 for place, word in enumerate(lower) if word in _QUOTING and names & _QUOTED]
        carriers = (FUNCTION_WORDS - _QUESTION_WORDS) | _CARRIERS | self._known
        start = next((place for place, word in enumerate(lower) if word not in carriers), len(lower))
        start = quoted[0] if quoted else start
        end = len(lower)
        while end > start and lower[end - 1] in POLITE_WORDS:
            end -= 1
        return " ".join(self._sentence.words[start:end]) or _NOTHING


def _runs_of(places: Sequence[int]) -> list[list[int]]:
    """Places that follow each other, together."""
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs


def _one_of(name: str, texts: Sequence[str]) -> Plan:
    return _decided(Ask(name, choice([Text(text) for text in texts])))


def _decided(ask: Ask) -> Plan:
    """The value itself where only one is possible."""
    text = only_text(ask.expression)
    return ask if text is None else json.loads(text)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _plain_number(number: Fraction) -> int | float:
    return int(number) if number.denominator == 1 else float(number)


def _within(option: Any, other: Any) -> bool:
    return option != other and isinstance(option, str) and isinstance(other, str) and option in other


def _description_words(description: str) -> list[str]:
    """The general words of a description: no examples, and no names in the middle of it."""
    general = _EXAMPLE_IN_DESCRIPTION.split(description, maxsplit=1)[0]
    words = Sentence(general).words
    return [word.lower() for place, word in enumerate(words) if place == 0 or word.islower()]
