"""The address that an edge listens on."""

from __future__ import annotations

import socket

from edge_client.settings import EdgeSettings
from routing.errors import SettingsError


def bound_socket(settings: EdgeSettings) -> socket.socket:
    """A socket with the address taken, that refuses callers until it is served.

    Raises:
        SettingsError: the address cannot be used.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        raise _taken(settings, error) from error
    return bound


def listen(settings: EdgeSettings, bound: socket.socket) -> None:
    """Let callers in. Where two edges have started at once, both could take the address, but only one can listen.

    Raises:
        SettingsError: the other one was faster.
    """
    try:
        bound.listen()
    except OSError as error:
        raise _taken(settings, error) from error


def _taken(settings: EdgeSettings, error: OSError) -> SettingsError:
    return SettingsError(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}")


def address(settings: EdgeSettings, bound: socket.socket) -> str:
    """The URL of the edge."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "http" if settings.tls.certificate_file is None else "https"
    return f"{scheme}://{host}:{bound.getsockname()[1]}"
