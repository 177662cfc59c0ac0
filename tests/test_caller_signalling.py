"""Where an offer is sent, and what a refusal means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.caller.signalling import calls_url
from routing.errors import InvalidRequest


@pytest.mark.parametrize(
    ("given_url", "where"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080/v1/realtime/calls"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1/realtime/calls"),
        ("https://api.example.com/v1", "https://api.example.com/v1/realtime/calls"),
        ("https://api.example.com/v1/realtime", "https://api.example.com/v1/realtime/calls"),
        ("https://example.com/voice/v1/realtime/calls/", "https://example.com/voice/v1/realtime/calls"),
        ("http://[::1]:8080", "http://[::1]:8080/v1/realtime/calls"),
    ],
)
def test_an_address_may_stop_anywhere_on_the_way(given_url: str, where: str) -> None:
    assert calls_url(given_url) == where


def test_a_model_is_asked_for_in_the_query() -> None:
    assert calls_url("http://a.example?x=1", model="gpt 1") == "http://a.example/v1/realtime/calls?x=1&model=gpt+1"


@pytest.mark.parametrize("url", ["ftp://example.com", "http://", "", "http://[::1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="expected an address"):
        calls_url(url)


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_is_refused(text: str) -> None:
    try:
        assert calls_url(text).startswith("http")
    except InvalidRequest:
        pass
