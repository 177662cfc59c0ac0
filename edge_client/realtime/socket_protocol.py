"""The server's side of a WebSocket's handshake, where its library gives up.

The library decodes headers so that bytes beyond ASCII survive, and then cannot write the sentence that says what is
wrong with such a header. The fault would leave the connection among the server's for ever, and the header, which may
hold a key, in the log. `tests/test_realtime_socket_protocol.py` tells when this is needed no more.
"""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

MALFORMED = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's own, which answers 400 there."""

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except UnicodeError:
            self.transport.write(MALFORMED)
            self.transport.close()
