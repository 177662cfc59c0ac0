"""What may be said of a cloud, and how a mistake is told."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from edge_client.cloud.settings import CloudSettings
from edge_client.upstream.settings import UpstreamSettings


def test_without_an_address_there_is_no_cloud() -> None:
    assert CloudSettings().url == ""


@pytest.mark.parametrize("url", ["ws://127.0.0.1:8000", "wss://cloud.example", "wss://cloud.example/antiphon/"])
def test_an_address_is_kept_without_its_last_slash(url: str) -> None:
    assert CloudSettings(url=url).url == url.rstrip("/")


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"url": "https://cloud.example"}, "expected a URL that begins with ws:// or wss://, got https://"),
        ({"url": "cloud.example"}, "expected a URL that begins with ws:// or wss://, got one without"),
        ({"url": "ws://"}, "expected a URL with a host"),
        ({"url": "ws://[::1"}, "expected a URL with a host and a port"),
        ({"url": "ws://host:99999"}, "expected a URL with a host and a port"),
        ({"url": "wss://me:secret@cloud.example"}, "expected a URL without a user or password: set the key instead"),
        ({"url": "wss://cloud.example/?token=1"}, "expected a URL without . and #, got one with"),
        ({"key": "one\r\ntwo: three"}, "expected a key of visible ASCII characters, got something else"),
        ({"key": ""}, "expected a key of visible ASCII characters, got something else"),
        ({"heartbeat_sec": 60.0}, "expected longest_back_off_sec to be at least heartbeat_sec, 60, got 10"),
        ({"key_file": "edge.key"}, "expected certificate_file beside key_file, got none"),
        ({"url": "ws://host", "certificate_file": "edge.crt"}, "expected a URL that begins with wss:// where a cert"),
        ({"connect_timeout_sec": 0}, "greater than 0"),
        ({"uri": "ws://host"}, "Extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_told_with_what_was_expected(wrong: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        CloudSettings(**wrong)


def test_a_key_is_not_shown() -> None:
    assert "sesame" not in repr(CloudSettings.model_validate({"url": "wss://cloud.example", "key": "sesame"}))


@pytest.mark.parametrize("url", ["wss://me:sesame@ho\N{ACCOUNT OF}st", "wss://cloud.example:sesame"])
@pytest.mark.parametrize("settings", [CloudSettings, UpstreamSettings])
def test_an_address_that_makes_no_sense_is_not_repeated(settings: type[BaseModel], url: str) -> None:
    with pytest.raises(ValidationError) as fault:
        settings.model_validate({"url": url})
    assert "sesame" not in fault.value.errors()[0]["msg"]
