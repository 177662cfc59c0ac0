"""Connections on which nothing is asked just now."""

from __future__ import annotations

import uvicorn


def close_idle_connections(server: uvicorn.Server) -> None:
    """Close them; those that are being answered close with their answer, and WebSockets go on.

    What a browser asks next comes over a new connection, which a balancer can send elsewhere.
    """
    for connection in list(server.server_state.connections):
        if hasattr(connection, "cycle"):  # it speaks HTTP
            connection.shutdown()
