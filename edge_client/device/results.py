"""What a tool returned, as a sentence that can be spoken."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from edge_client.device.sentence import name_words
from edge_client.device.spoken_numbers import read_out

MOST_FACTS = 5
MOST_ITEMS = 3
MOST_SPOKEN = 20  # of a plain list
DEEPEST_NESTING = 5
LONGEST_RESULT = 1000  # characters, about a minute
LARGEST_FIGURE = 10**15  # nobody listens to more digits
DONE = "That is done."

_ANSWERS = ("answer", "message", "summary", "text", "response", "speech", "result")
_INDOORS = ("room", "area")
_PLACES = frozenset({"city", "location", "place", "country", "region", *_INDOORS})
_UNSPOKEN = frozenset("id ids uuid url uri link href timestamp lat lon latitude longitude icon".split())
_OUTCOMES = frozenset("ok success status done".split())
_FINE = frozenset("ok success successful done completed true".split())
_FULL_WORDS = {
    "temp": "temperature", "desc": "description", "qty": "quantity", "avg": "average", "min": "lowest",
    "max": "highest", "num": "number", "addr": "address", "tz": "time zone",
}  # fmt: skip
_UNITS = {  # the last word of a name, and what is counted: one and several
    "c": ("degree Celsius", "degrees Celsius"),
    "celsius": ("degree Celsius", "degrees Celsius"),
    "f": ("degree Fahrenheit", "degrees Fahrenheit"),
    "fahrenheit": ("degree Fahrenheit", "degrees Fahrenheit"),
    "percent": ("percent", "percent"),
    "pct": ("percent", "percent"),
    "km": ("kilometer", "kilometers"),
    "kmh": ("kilometer per hour", "kilometers per hour"),
    "kph": ("kilometer per hour", "kilometers per hour"),
    "mph": ("mile per hour", "miles per hour"),
    "miles": ("mile", "miles"),
    "m": ("meter", "meters"),
    "meters": ("meter", "meters"),
    "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"),
    "kg": ("kilogram", "kilograms"),
    "g": ("gram", "grams"),
    "ms": ("millisecond", "milliseconds"),
    "s": ("second", "seconds"),
    "sec": ("second", "seconds"),
    "seconds": ("second", "seconds"),
    "minutes": ("minute", "minutes"),
    "mins": ("minute", "minutes"),
    "hours": ("hour", "hours"),
    "days": ("day", "days"),
    "usd": ("dollar", "dollars"),
    "eur": ("euro", "euros"),
    "gbp": ("pound", "pounds"),
    "gb": ("gigabyte", "gigabytes"),
    "mb": ("megabyte", "megabytes"),
}


class Fact(NamedTuple):
    name: tuple[str, ...]  # its words
    value: Any


def say_result(output: str) -> str:
    """Plain text as it is; JSON as a sentence: "The temperature is 21 degrees Celsius and the condition is sunny".

    Of what is too long to listen to, the beginning.
    """
    try:
        said = say_value(json.loads(output))
    except ValueError:
        said = output.strip() or DONE
    except RecursionError:
        said = DONE
    return said if len(said) <= LONGEST_RESULT else f"{said[:LONGEST_RESULT]}…"


def say_value(value: Any) -> str:
    match value:
        case bool():
            return "Yes." if value else "No."
        case int() | float():
            return f"The answer is {_figure(value)}."
        case str() if value.strip():
            return value
        case list() if value:
            return _say_list(value)
        case dict() if value:
            return _say_object(value)
        case []:
            return "I found nothing."
    return DONE


def _say_object(value: Mapping[str, Any]) -> str:
    if error := value.get("error"):
        return f"That did not work: {error if isinstance(error, str) else 'there was an error'}."
    for key in _ANSWERS:
        if key in value and (len(value) == 1 or _is_phrase(value[key])):
            return say_value(value[key])
    return _say_facts(list(_facts(value)))


def _is_phrase(value: Any) -> bool:
    return isinstance(value, str) and " " in value.strip()


def _say_facts(facts: Sequence[Fact]) -> str:
    place = next((fact for fact in facts if fact.name[-1] in _PLACES and isinstance(fact.value, str)), None)
    unit = next((fact.value for fact in facts if fact.name[-1] in ("unit", "units")), None)
    told = [_clause(fact, unit) for fact in facts if fact is not place and not _is_aside(fact)]
    if told:
        lead = f"in {'the ' if place.name[-1] in _INDOORS else ''}{place.value} " if place else ""
        return _sentence(lead + _joined(told[:MOST_FACTS]))
    if place:
        return _sentence(_clause(place, None))
    failed = any(fact.value is False for fact in facts)
    return "That did not work." if failed else DONE


def _facts(value: Mapping[str, Any], depth: int = 0) -> Iterator[Fact]:
    """The leaves of an object, by their own names; what only a machine can use is left out."""
    for key, part in value.items():
        name = tuple(_FULL_WORDS.get(word, word) for word in name_words(key))
        if not name or _UNSPOKEN.intersection(name):
            continue
        if not isinstance(part, Mapping):
            yield Fact(name, part)
        elif depth < DEEPEST_NESTING:
            yield from _facts(part, depth + 1)


def _is_aside(fact: Fact) -> bool:
    """Whether a fact only says that all went well, or belongs to another one."""
    if fact.name[-1] in ("unit", "units"):
        return True
    return fact.name[-1] in _OUTCOMES and (isinstance(fact.value, bool) or str(fact.value).lower() in _FINE)


def _clause(fact: Fact, unit: str | None) -> str:
    subject = " ".join(fact.name)
    match fact.value:
        case bool():
            return _yes_or_no(fact.name, fact.value)
        case int() | float():
            return _measure(fact.name, fact.value, unit)
        case str() if fact.value.strip():
            return f"the {subject} is {fact.value.strip().rstrip('.')}"
        case list() if fact.value:
            names = [_name_of(item) for item in fact.value[:MOST_ITEMS]]
            single = len(names) == 1 and not subject.endswith("s")
            return f"the {subject} {'is' if single else 'are'} {_joined(names)}"
    return f"the {subject} is unknown"


def _yes_or_no(name: Sequence[str], value: bool) -> str:
    if name[0] == "has":
        return f"it has {'' if value else 'no '}{' '.join(name[1:])}"
    words = name[1:] if name[0] == "is" and len(name) > 1 else name
    subject = f"the {' '.join(words[:-1])}" if len(words) > 1 else "it"
    return f"{subject} is {'' if value else 'not '}{words[-1]}"


def _measure(name: Sequence[str], value: float, unit: str | None) -> str:
    """A number with the unit that its name ends with, or that stands beside it."""
    own = _UNITS.get(name[-1])
    thing = name[:-1] if own else name
    counted = own or (_UNITS.get(unit.lower(), (unit, unit)) if isinstance(unit, str) else None)
    amount = _figure(value) + (f" {counted[0] if value == 1 else counted[1]}" if counted else "")
    if not thing:
        return f"it is {amount}"
    plural = thing[-1].endswith("s") and not thing[-1].endswith(("ss", "us", "is"))
    return f"the {'number of ' if plural and not counted else ''}{' '.join(thing)} is {amount}"


def _figure(value: float) -> str:
    if not abs(value) < math.inf:
        return "unknown"
    if abs(value) >= LARGEST_FIGURE:
        return "too large to say"
    reading = read_out(Fraction(str(value)))
    return reading.text


def _say_list(items: Sequence[Any]) -> str:
    if all(isinstance(item, Mapping) for item in items):
        names = [_name_of(item) for item in items[:MOST_ITEMS]]
        found = f"I found {len(items)} result{'' if len(items) == 1 else 's'}"
        return f"{found}: {_joined(names)}."
    more = ["more"] if len(items) > MOST_SPOKEN else []
    return _sentence(_joined([_name_of(item) for item in items[:MOST_SPOKEN]] + more))


def _name_of(item: Any) -> str:
    if isinstance(item, Mapping):
        named = (item[key] for key in ("title", "name", "label") if isinstance(item.get(key), str))
        return next(named, None) or say_value(item).rstrip(".")
    return _figure(item) if isinstance(item, int | float) and not isinstance(item, bool) else str(item)


def _joined(parts: Sequence[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
