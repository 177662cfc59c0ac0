"""The address of the edge: free for it, or taken by an edge already."""

from __future__ import annotations

import errno
import socket

from edge_client.doctor.aside import aside
from edge_client.doctor.edge import is_an_edge, probes
from edge_client.doctor.finding import Finding, fault, ok
from edge_client.settings import EdgeSettings

ABOUT = "port"
PRIVILEGED = 1024


async def look_at_port(settings: EdgeSettings) -> list[Finding]:
    """Try to take the address, as an edge would. Where somebody has it, ask who."""
    where = f"{settings.host} port {settings.port}"
    error = await aside(lambda: _taken(settings.host, settings.port))
    if error is None:
        return [ok(ABOUT, f"{where} is free for an edge" if settings.port else "any free one is taken")]
    if error.errno != errno.EADDRINUSE:
        return [_unusable(settings, where, error)]
    url = address_of(settings)
    if await is_an_edge(url):
        return [ok(ABOUT, f"an edge listens on {where} already"), *await probes(url)]
    return [_held_by_another(where)]


def address_of(settings: EdgeSettings) -> str:
    """Where an edge of these settings is asked from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    scheme = "http" if settings.tls.certificate_file is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _taken(host: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, port))
            bound.listen(1)
    except OSError as error:
        return error
    return None


def _unusable(settings: EdgeSettings, where: str, error: OSError) -> Finding:
    advice = "Set host to an address or a name of this machine."
    if error.errno == errno.EACCES:
        advice = f"Ports below {PRIVILEGED} need a right of their own: choose a higher port, such as 8080."
    elif isinstance(error, socket.gaierror):
        advice = f"No name server knows {settings.host}: set host to an address of this machine."
    return fault(ABOUT, f"{where}: {error.strerror}", expected="an address that an edge can listen on", advice=advice)


def _held_by_another(where: str) -> Finding:
    return fault(
        ABOUT,
        f"another program on {where}",
        expected="a free port, or an edge on it",
        advice="End that program (ss -ltnp shows which it is), or choose another port: ANTIPHON_PORT=9000",
    )
