"""Collectors that answer what no collector should: nothing of it is taken for a yes, kept, or waited for."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from routing.telemetry.batches import NotTaken
from routing.telemetry.collector import ANSWER_BYTES, Collector
from tests.test_telemetry_json_file import finished

ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"


@asynccontextmanager
async def answering(answer: bytes, *, again: bytes = b"") -> AsyncIterator[tuple[Collector, list[int]]]:
    """A collector that answers so, and goes on with ``again`` without end; with how many bytes found a reader."""
    taken: list[int] = []

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        try:
            while again:
                writer.write(again)
                await writer.drain()
                taken.append(len(again))
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        collector = await asyncio.to_thread(Collector, f"http://{host}:{port}/v1/traces")
        yield collector, taken
        await asyncio.to_thread(collector.close)


@pytest.fixture
def spans() -> list[ReadableSpan]:
    return list(finished("voice.turn"))


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
async def test_who_sends_spans_elsewhere_has_not_taken_them(status: str, spans: list[ReadableSpan]) -> None:
    moved = f"HTTP/1.1 {status}\r\nLocation: http://elsewhere.invalid/\r\nContent-Length: 0\r\n\r\n".encode()
    async with answering(moved) as (collector, _):
        with pytest.raises(NotTaken, match=f"got {status[:3]} to another place"):
            await asyncio.to_thread(collector.send, spans)


async def test_an_answer_without_end_is_not_read_to_its_end(spans: list[ReadableSpan]) -> None:
    async with answering(ENDLESS, again=b"x" * ANSWER_BYTES) as (collector, taken):
        await asyncio.to_thread(collector.send, spans)
    assert sum(taken) < 500_000_000
