"""Three ways to call a server: what is sent, what is understood of the answer, and which way is meant."""

from __future__ import annotations

import json

import pytest

from edge_client.caller.dialect import DIALECTS, FASTRTC, OPENAI, PIPECAT, find_dialect
from edge_client.caller.signalling import calls_url
from routing.errors import AtCapacity, BackendUnavailable, InvalidRequest

SDP = "v=0\r\n"


@pytest.mark.parametrize(
    ("url", "dialect"),
    [
        ("127.0.0.1:8080", OPENAI),
        ("https://api.example.com/v1", OPENAI),
        ("http://127.0.0.1:7860/api/offer", PIPECAT),
        ("http://127.0.0.1:7860/sessions/7/api/offer/?key=1", PIPECAT),
        ("http://127.0.0.1:8000/webrtc/offer", FASTRTC),
        ("http://[::1", OPENAI),
    ],
)
def test_the_path_tells_the_dialect(url: str, dialect: object) -> None:
    assert find_dialect(None, url) is dialect


def test_a_named_dialect_wins_and_an_unknown_one_is_refused() -> None:
    assert find_dialect("pipecat", "http://127.0.0.1:8080/webrtc/offer") is PIPECAT
    with pytest.raises(InvalidRequest, match="expected a dialect of openai, pipecat, fastrtc, got 'sip'"):
        find_dialect("sip", "127.0.0.1")


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("127.0.0.1:7860", "http://127.0.0.1:7860/api/offer"),
        ("https://a.example/sessions/7/api/offer?x=1", "https://a.example/sessions/7/api/offer?x=1"),
    ],
)
def test_an_address_may_stop_before_the_route(url: str, where: str) -> None:
    assert calls_url(url, dialect=PIPECAT) == where


def test_an_offer_travels_plain_or_wrapped() -> None:
    assert OPENAI.write_offer(SDP) == (SDP, "application/sdp")
    wrapped = {name: json.loads(DIALECTS[name].write_offer(SDP).content) for name in ("pipecat", "fastrtc")}
    assert wrapped["pipecat"] == {"sdp": SDP, "type": "offer"}
    assert wrapped["fastrtc"] == {"sdp": SDP, "type": "offer", "webrtc_id": wrapped["fastrtc"]["webrtc_id"]}
    assert wrapped["fastrtc"] != json.loads(FASTRTC.write_offer(SDP).content)  # each call has an id of its own


def test_an_answer_is_unwrapped() -> None:
    assert OPENAI.read_answer(SDP) == SDP
    assert PIPECAT.read_answer(json.dumps({"sdp": SDP, "type": "answer", "pc_id": "1"})) == SDP


@pytest.mark.parametrize("text", ["", "v=0", "[]", "{}", '{"sdp": 7}', '{"status": "failed"}'])
def test_what_is_no_answer_is_told(text: str) -> None:
    with pytest.raises(BackendUnavailable, match="expected a JSON object with an sdp"):
        PIPECAT.read_answer(text)


def test_a_refusal_may_come_with_the_status_of_a_success() -> None:
    with pytest.raises(AtCapacity):
        FASTRTC.read_answer('{"status": "failed", "meta": {"error": "concurrency_limit_reached", "limit": 1}}')
    with pytest.raises(InvalidRequest, match="connection_already_exists"):
        FASTRTC.read_answer('{"status": "failed", "meta": {"error": "connection_already_exists"}}')
