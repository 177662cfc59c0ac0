"""Sounds of listening: short answers that encourage the speaker and do not ask for the floor."""

from __future__ import annotations

import re

BACKCHANNELS = frozenset(
    "ah aha hm hmm huh mhm mm mmm mmhmm oh okay ok right sure uhhuh uh um wow yeah yep yes".split()
)


def is_backchannel(text: str) -> bool:
    """Whether ``text`` is at most three words, all of them sounds of listening."""
    words = re.sub(r"[^a-z ]", "", text.lower().replace("uh-huh", "uhhuh").replace("mm-hmm", "mmhmm")).split()
    return len(words) <= 3 and all(word in BACKCHANNELS or word in {"i", "see"} for word in words)
