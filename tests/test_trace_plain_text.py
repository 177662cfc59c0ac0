"""What a stranger wrote does nothing to a terminal."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.trace.plain_text import plain


def test_escapes_are_shown_and_not_obeyed() -> None:
    assert plain("\x1b[2J\x07ok\n\u202eevil\ud800\x9b") == "␛[2J␇ok␊\ufffdevil\ufffd\ufffd"


def test_long_text_is_cut() -> None:
    assert plain("a" * 300, limit=10) == "a" * 9 + "…"


@settings(max_examples=40)
@given(st.text())
def test_any_text_becomes_one_printable_line(text: str) -> None:
    assert plain(text).isprintable()
