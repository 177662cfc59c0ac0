"""A WebSocket's handshake with bytes where only text may be: refused, forgotten, and not repeated in the log."""

from __future__ import annotations

import asyncio
import logging

import pytest
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from edge_client.realtime.program import server_config
from edge_client.realtime.server import create_app
from edge_client.realtime.socket_protocol import MALFORMED, SocketProtocol
from tests.edge import scripted_edge

UPGRADE = (
    b"GET /v1/realtime HTTP/1.1\r\nhost: edge\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"sec-websocket-protocol: openai-insecure-api-key.a-key\xff\r\n\r\n"
)


@pytest.mark.slow
async def test_a_header_that_is_no_text_is_refused_and_nothing_of_it_stays(caplog: pytest.LogCaptureFixture) -> None:
    async with scripted_edge(api_keys="a key of some length") as edge:
        config = server_config(create_app(edge))
        config.load()
        server = uvicorn.Server(config)
        listening = await asyncio.get_running_loop().create_server(
            lambda: config.http_protocol_class(config=config, server_state=server.server_state, app_state={}),  # type: ignore[call-arg]
            "127.0.0.1",
            0,
        )
        async with listening:
            reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
            writer.write(UPGRADE)
            assert await reader.read() == MALFORMED
            writer.close()
    assert server.server_state.connections == set()
    assert "a-key" not in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_the_server_raises_it_by_itself() -> None:
    """Should it leave that off one day, this module is needed no more."""
    async with scripted_edge() as edge:
        config = uvicorn.Config(create_app(edge), log_config=None)
        config.load()
        assert config.ws_protocol_class is WebSocketsSansIOProtocol
        protocol = WebSocketsSansIOProtocol(config, uvicorn.Server(config).server_state, {})
        with pytest.raises(UnicodeError):
            protocol.data_received(UPGRADE)


async def test_an_edge_is_served_with_it() -> None:
    async with scripted_edge() as edge:
        config = server_config(create_app(edge))
        config.load()
    assert config.ws_protocol_class is SocketProtocol
