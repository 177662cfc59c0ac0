"""What clients send, as JSON: any text there is, and what is none."""

from __future__ import annotations

import json

import pytest

from edge_client.realtime.client_events import read_envelope
from routing.errors import InvalidRequest


@pytest.mark.parametrize("text", ["plain", "é", "😀 whole", "\\ud83d", '"', "\x00"])
def test_words_stay_as_they_are(text: str) -> None:
    for is_ascii in (True, False):
        assert read_envelope(json.dumps({"text": text}, ensure_ascii=is_ascii)) == {"text": text}


@pytest.mark.parametrize(("sent", "read"), [("cut off \ud83d", "cut off ?"), ("\ude00 and 😀", "? and 😀")])
def test_half_a_character_is_a_question_mark(sent: str, read: str) -> None:
    assert read_envelope(json.dumps({"item": {"text": sent}})) == {"item": {"text": read}}


@pytest.mark.parametrize("text", ["", "[]", "nonsense", '"\\ud83d"', "{" * 100_000, "[" * 100_000 + '"\\ud83d"'])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="expected a JSON object"):
        read_envelope(text)
