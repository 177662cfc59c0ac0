"""Addresses in the forms that settings and people give them."""

from __future__ import annotations

import pytest

from edge_client.doctor.web import Answered, as_http, asked, base_of
from tests.web_server import web_server


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("wss://user:word@cloud.example/route?key=1", "https://cloud.example"),
        ("ws://[::1]:8000/", "http://[::1]:8000"),
        ("https://voice.example/v1/realtime", "https://voice.example"),
    ],
)
def test_the_server_of_an_address(url: str, base: str) -> None:
    assert base_of(url) == base


def test_a_path_stays() -> None:
    assert as_http("wss://voice.example/edge/") == "https://voice.example/edge"


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}])
def test_who_tells_no_time_is_not_believed_any(headers: dict[str, str]) -> None:
    assert Answered(200, headers, b"").epoch_sec is None


async def test_an_answer_is_read_only_so_far() -> None:
    async with web_server(lambda request: (200, {}, b"x" * 1_000_000)) as url:
        answered = await asked(url)
    assert 64 * 1024 < len(answered.body) < 1_000_000
