"""What a caller who comes back has missed."""

from __future__ import annotations

import json

from edge_client.realtime.sent_events import MOST_CHARACTERS, MOST_EVENTS, SentEvents


def event(number: int, **fields: str) -> dict[str, str]:
    return {"type": "test", "event_id": f"event_{number}", **fields}


def ids(texts: list[str]) -> list[str]:
    return [json.loads(text)["event_id"] for text in texts]


def test_everything_after_the_last_event_is_told_in_order() -> None:
    sent = SentEvents()
    texts = [sent.add(event(number)) for number in range(5)]
    assert sent.after("event_2") == texts[3:]
    assert sent.after("event_4") == []
    assert sent.after(None) == texts


def test_whoever_names_an_event_that_was_forgotten_gets_all_there_is() -> None:
    sent = SentEvents()
    for number in range(MOST_EVENTS + 10):
        sent.add(event(number))
    assert ids(sent.after("event_3"))[0] == "event_10"


def test_long_events_are_forgotten_sooner() -> None:
    sent = SentEvents()
    for number in range(20):
        sent.add(event(number, text="x" * (MOST_CHARACTERS // 10)))
    kept = sent.after(None)
    assert sum(map(len, kept)) <= MOST_CHARACTERS
    assert ids(kept)[-1] == "event_19"
