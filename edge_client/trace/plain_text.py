"""Text that somebody else wrote, made harmless for a terminal."""

from __future__ import annotations

import unicodedata

_REPLACEMENT = "\ufffd"
_CONTROL_PICTURES = 0x2400
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(value: object, *, limit: int = 200) -> str:
    """One line without control characters, of ``limit`` characters at most.

    An escape sequence is shown and not obeyed, and nothing can turn the direction of writing around.
    """
    text = str(value)
    shown = "".join(map(_visible, text[:limit]))
    return shown if len(text) <= limit else shown[: limit - 1] + "…"


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x20:
        return chr(_CONTROL_PICTURES + code)
    return _REPLACEMENT if unicodedata.category(character) in _UNSEEN else " "
