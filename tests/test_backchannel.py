"""Sounds of listening do not ask for the floor."""

from __future__ import annotations

import pytest

from edge_client.backchannel import is_backchannel


@pytest.mark.parametrize("text", ["Uh-huh.", "Mm-hmm", "Yeah.", "Okay, right.", "I see.", "Oh wow!", ""])
def test_sounds_of_listening(text: str) -> None:
    assert is_backchannel(text)


@pytest.mark.parametrize("text", ["Stop.", "No.", "Yes, stop.", "Wait!", "Okay, but why?", "Yeah yeah yeah yeah"])
def test_words_that_mean_something(text: str) -> None:
    assert not is_backchannel(text)
