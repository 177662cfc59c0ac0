"""Reading a turn out of the server's events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.caller.watch import ServerNumbers, TurnWatch

TURN = {
    "index": 1,
    "timings_ms": {"endpoint_wait": 210.5, "ttfa": 3, "odd": "soon"},
    "placement": {"backend": "device", "reason": "only backend"},
    "end_reason": "semantic",
}


def created(response_id: str) -> dict[str, Any]:
    return {"type": "response.created", "response": {"id": response_id, "status": "in_progress"}}


def done(response_id: str, status: str = "completed", **fields: object) -> dict[str, Any]:
    return {"type": "response.done", "response": {"id": response_id, "status": status, **fields}}


def words(response_id: str, delta: str) -> dict[str, Any]:
    return {"type": "response.output_audio_transcript.delta", "response_id": response_id, "delta": delta}


def heard(item_id: str, transcript: str) -> dict[str, Any]:
    kind = "conversation.item.input_audio_transcription.completed"
    return {"type": kind, "item_id": item_id, "transcript": transcript}


def watching(*events: dict[str, Any]) -> TurnWatch:
    watch = TurnWatch()
    for event in events:
        watch.feed(event)
    return watch


def state(watch: TurnWatch) -> tuple[bool, bool]:
    return watch.finished, watch.played


def test_a_whole_turn() -> None:
    watch = watching(heard("i1", " What time is it? "), created("r1"), words("r1", "It is "), words("r1", "noon."))
    assert state(watch) == (False, False)
    watch.feed({**done("r1"), "antiphon": {"turn": TURN}})
    assert state(watch) == (True, False)
    watch.feed({"type": "output_audio_buffer.stopped", "response_id": "r1"})
    assert state(watch) == (True, True)
    assert (watch.transcript, watch.answer) == ("What time is it?", "It is noon.")
    assert watch.numbers.endpoint_wait_ms == 210.5
    assert watch.numbers.ttfa_ms == 3
    assert watch.numbers.placement == {"backend": "device", "reason": "only backend"}
    assert watch.numbers.end_reason == "semantic"
    assert watch.errors == []


def test_the_numbers_may_be_inside_the_response() -> None:
    watch = watching(created("r1"), done("r1", antiphon={"turn": TURN}))
    assert watch.numbers.ttfa_ms == 3


def test_a_foreign_server_tells_no_numbers() -> None:
    watch = watching(created("r1"), done("r1"))
    assert watch.numbers == ServerNumbers()
    assert watch.numbers.endpoint_wait_ms is None


def test_the_trace_of_the_turn_is_known_and_then_told() -> None:
    watch = watching(created("r1"))
    states = [watch.done]
    watch.feed({**done("r1"), "antiphon": {"turn": {**TURN, "turn_id": "t1", "trace_id": "abc"}}})
    states.append(watch.done)
    assert states == [False, True]
    assert (watch.numbers.turn_id, watch.numbers.trace_id, watch.traced) == ("t1", "abc", None)
    told = {"type": "antiphon.turn.traced", "turn_id": "t1", "trace_id": "abc", "spans": []}
    for traced in ({**told, "turn_id": "another"}, told, {**told, "turn_id": "yet another"}):
        watch.feed(traced)
    assert watch.traced == told


def test_a_cancelled_response_is_not_the_end() -> None:
    watch = watching(heard("i1", "Set a timer"), created("r1"), done("r1", "cancelled"))
    assert state(watch) == (False, False)
    for event in (heard("i2", "for two minutes."), created("r2"), words("r2", "Done."), done("r2")):
        watch.feed(event)
    assert state(watch) == (True, False)
    assert (watch.transcript, watch.answer) == ("Set a timer for two minutes.", "Done.")


def test_events_of_the_turn_before_are_ignored() -> None:
    watch = watching(words("r0", "old"), done("r0", "cancelled"), created("r1"), words("r1", "new"))
    assert watch.answer == "new"
    assert not watch.finished


def test_a_sealed_watch_follows_only_what_it_knows() -> None:
    watch = watching(created("r1"), words("r1", "It is "))
    watch.seal()
    for event in (heard("i2", "Stop."), created("r2"), done("r1", "cancelled"), done("r2")):
        watch.feed(event)
    assert watch.transcript == ""
    assert watch.answer == "It is"


def test_failures_and_errors_are_told() -> None:
    failed = done("r1", "failed", status_details={"type": "failed", "error": {"message": "no backend"}})
    watch = watching({"type": "error", "error": {"message": "bad tone"}}, created("r1"), failed)
    assert watch.errors == ["bad tone", "no backend"]
    assert watch.finished


def test_written_answers_count_too() -> None:
    watch = watching(created("r1"), {"type": "response.output_text.done", "response_id": "r1", "text": "Noon."})
    assert watch.answer == "Noon."


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    kind=st.sampled_from(["response.created", "response.done", "error", "output_audio_buffer.stopped"]) | JSON,
    response=JSON,
    antiphon=JSON,
)
def test_malformed_events_do_no_harm(kind: object, response: object, antiphon: object) -> None:
    watch = watching(created("r1"))
    for odd in (
        {"type": kind, "response": response, "error": response, "antiphon": antiphon, "response_id": "r1"},
        {"type": kind, "response": {"id": "r1", "status_details": response, "antiphon": {"turn": antiphon}}},
    ):
        watch.feed(odd)
    assert isinstance(watch.answer, str)
    assert isinstance(watch.numbers, ServerNumbers)


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed"])
def test_every_final_status_ends_the_turn(status: str) -> None:
    assert watching(created("r1"), done("r1", status)).finished
