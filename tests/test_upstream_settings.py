"""Where a server is found."""

from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from edge_client.upstream.settings import UpstreamSettings


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/v1/realtime"),
        ("https://voice.example/v1/", "wss://voice.example/v1/realtime"),
        ("wss://voice.example/v1/realtime", "wss://voice.example/v1/realtime"),
        ("wss://voice.example/team?version=2", "wss://voice.example/team/v1/realtime?version=2"),
    ],
)
def test_an_address_may_be_given_as_far_as_it_is_known(url: str, address: str) -> None:
    assert UpstreamSettings(url=url).address == address


def test_the_model_is_part_of_the_address() -> None:
    settings = UpstreamSettings(url="wss://voice.example?version=2", model="big & slow")
    assert settings.address == "wss://voice.example/v1/realtime?version=2&model=big+%26+slow"


@pytest.mark.parametrize("url", ["voice.example", "ftp://voice.example", "wss://", "wss://[half"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match=r"expected an address|Invalid IPv6"):
        UpstreamSettings(url=url)


def test_the_key_is_not_shown() -> None:
    settings = UpstreamSettings(url="wss://voice.example", key=SecretStr("very secret"))
    assert "very secret" not in repr(settings)
    assert "very secret" not in settings.model_dump_json()
