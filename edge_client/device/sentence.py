"""What the user said, word by word, as far as a tool's arguments may be found in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction

from edge_client.device.spoken_numbers import SCALES, SMALL, TENS, numbers_in, tokens

_EDGES = ' \t\n.,!?;:"“”()[]{}…'
_NAME_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_CURRENCIES = {"$": "dollars", "€": "euros", "£": "pounds", "¥": "yen"}
_MONEY = re.compile(r"([$€£¥])\s?(\d[\d.,]*\d|\d)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NUMBER_WORDS = frozenset({*SMALL, *TENS, *SCALES, "hundred", "point", "half", "percent"})

# Words that carry a request but are no argument of it.
FUNCTION_WORDS = frozenset(
    "a about an and any anything are at be by can could did do does for from give going got had has have hey how i i'd"
    " i'll i'm i've if in is it it's its just let's like look me my need of off ok okay on or our out over please right"
    " should show some something tell that that's the their them there there's these this those to up us want was we"
    " what what's when where which who will with would you your's you're your know think wonder much many kind of"
    " hello hi now then also too very really here more go get make set find check take bring wear see say use".split()
)
TIME_WORDS = frozenset("today tomorrow tonight yesterday currently moment later soon morning evening".split())
_PREPOSITIONS = frozenset("in at for to from by of into on with near".split())
POLITE_WORDS = frozenset("please thanks thank you now okay ok for me".split())


class Sentence:
    """The cleaned words of ``text``; ``lower`` is parallel to ``words``."""

    def __init__(self, text: str) -> None:
        plain = _MONEY.sub(lambda sum_: f"{sum_[2]} {_CURRENCIES[sum_[1]]}", text.replace("’", "'"))
        raw = [word for word in plain.split() if _cleaned(word)]
        self.text = text
        self.words = tuple(_cleaned(word) for word in raw)
        self.commas = frozenset(place for place, word in enumerate(raw) if word.endswith(","))  # behind these words
        self.lower = tuple(word.lower() for word in self.words)
        self.numbers: tuple[Fraction, ...] = tuple(mention.value for mention in numbers_in(tokens(text)))

    def mentions(self, phrase: str) -> bool:
        """Whether the words of ``phrase`` stand in the sentence, one behind the other."""
        return bool(Sentence(phrase).words) and self.place_of(phrase) >= 0

    def place_of(self, phrase: str) -> int:
        """Where ``phrase`` begins, or -1."""
        wanted = Sentence(phrase).lower
        places = range(len(self.lower) - len(wanted) + 1)
        return next((place for place in places if self.lower[place : place + len(wanted)] == wanted), -1)

    def presents_as_name(self, words: str) -> bool:
        """Whether ``words`` are written with a capital in the middle of the sentence."""
        return self.place_of(words) > 0 and words[:1].isupper()

    def presents_with_preposition(self, words: str) -> bool:
        place = self.place_of(words)
        lead = [word for word in self.lower[max(0, place - 2) : place] if word not in ("the", "a", "my")]
        return bool(lead) and lead[-1] in _PREPOSITIONS

    def content(self, known: Iterable[str]) -> list[int]:
        """Which words say something that is neither grammar nor one of the ``known`` words."""
        dull = FUNCTION_WORDS.union(known)
        return [place for place, word in enumerate(self.lower) if stem(word) not in dull and word not in dull]


def _cleaned(word: str) -> str:
    """Without marks around it and without the ending of a possessive."""
    bare = _CONTROL.sub("", word).strip(_EDGES)
    return bare if bare.lower() in FUNCTION_WORDS else bare.removesuffix("'s")


def stem(word: str) -> str:
    """Close enough to find "lights" in "light"."""
    return word.removesuffix("s") if len(word) > 3 else word


def name_words(name: str) -> list[str]:
    """The words in an identifier: "departureCity" and "departure_city" are two."""
    return [part.lower() for part in _NAME_PARTS.findall(name)]


def is_number_word(word: str) -> bool:
    return word in _NUMBER_WORDS or any(character.isdigit() for character in word)
