"""Where an offer is sent, and what a refusal means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.caller.client import Caller
from edge_client.caller.signalling import LONGEST_ANSWER, calls_url, exchange
from routing.errors import BackendUnavailable, InvalidRequest


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


@pytest.mark.parametrize("url", ["ftp://example.com", "http://", "", "http://[::1", "http://a.example:80800"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="expected an address"):
        calls_url(url)


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_is_refused(text: str) -> None:
    try:
        assert calls_url(text).startswith("http")
    except InvalidRequest:
        pass


@asynccontextmanager
async def answering(reply: bytes, offers: list[bytes]) -> AsyncIterator[str]:
    """The address of a server that gives everybody this answer, and keeps how it was asked."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        offers.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(reply)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}/"


@pytest.mark.parametrize(("told", "shown"), [("ab" * 16, True), ("\x1b[31mred", False), ("", False)])
async def test_the_trace_of_a_connection_is_shown_to_whoever_wants_it_told(
    told: str, shown: bool, caplog: pytest.LogCaptureFixture
) -> None:
    head = f"HTTP/1.1 201 Created\r\nX-Trace-Id: {told}\r\nContent-Length: 3\r\n\r\nv=0".encode()
    with caplog.at_level("INFO", "edge_client.caller.signalling"):
        async with answering(head, []) as url:
            assert (await exchange("v=0", url=url, key=None)).sdp == "v=0"
    assert [record.message for record in caplog.records if record.name.endswith("signalling")] == (
        [f"the trace of this connection is {told}"] if shown else []
    )


async def test_an_offer_tells_the_trace_it_belongs_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    offers: list[bytes] = []
    async with answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno", offers) as url:
        with pytest.raises(InvalidRequest):
            async with Caller.connect(url):
                raise AssertionError("connected")
    assert b"\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n" in offers[0]


@asynccontextmanager
async def trickling(chunk: bytes, pause_sec: float) -> AsyncIterator[str]:
    """The address of a server whose answer has no end."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 201 Created\r\n\r\n")
            while not writer.is_closing():
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(pause_sec)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}/"


async def test_an_answer_without_end_is_not_read_to_the_end(nothing_left_behind: None) -> None:
    async with trickling(b"v" * 65536, 0.001) as url:
        with pytest.raises(BackendUnavailable, match=f"at most {LONGEST_ANSWER} bytes"):
            await exchange("v=0", url=url, key=None)


async def test_an_answer_that_trickles_in_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_client.caller.signalling.REQUEST_TIMEOUT_SEC", 0.3)
    async with trickling(b"v", 0.05) as url:
        with pytest.raises(BackendUnavailable, match="TimeoutError"):
            await exchange("v=0", url=url, key=None)
