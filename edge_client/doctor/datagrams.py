"""UDP, over which the sound of calls goes: whether it passes on the addresses that calls would use."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path

from aioice.ice import get_host_addresses

from edge_client.doctor.aside import aside
from edge_client.doctor.finding import Finding, fault, ok, warning
from edge_client.settings import EdgeSettings
from edge_client.webrtc.ice import LOOPBACK

ABOUT = "UDP"
ANSWER_SEC = 1.0
PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
SHOWN_ADDRESSES = 6


async def look_at_datagrams(settings: EdgeSettings) -> list[Finding]:
    """Send and receive on every address that calls would listen on."""
    own = await aside(lambda: get_host_addresses(use_ipv4=True, use_ipv6=True))
    wanted = list(settings.peer.listen_addresses or own)
    addresses = wanted or [LOOPBACK]
    faults = [found for found in await asyncio.gather(*map(_exchange, addresses)) if found]
    ports = await aside(_port_range)
    return faults or [_judged(settings, addresses, ports)]


def _judged(settings: EdgeSettings, addresses: Sequence[str], ports: str) -> Finding:
    shown = ", ".join(addresses[:SHOWN_ADDRESSES])
    only_here = all(address in {LOOPBACK, "::1"} for address in addresses)
    if only_here and not settings.on_loopback:
        return warning(
            ABOUT,
            f"only {shown}",
            expected="an address that callers from elsewhere reach",
            advice="Set peer.listen_addresses to addresses of this machine, or peer.relay with a TURN server.",
        )
    advice = "" if settings.on_loopback else f"Firewalls must let UDP to the ports {ports} of these addresses through."
    return ok(ABOUT, f"sent and received on {shown}", advice=advice)


def _port_range() -> str:
    """Where the system takes the ports of calls from."""
    try:
        first, last = PORT_RANGE.read_text("ascii").split()
    except (OSError, ValueError):
        return "49152–65535"
    return f"{first}–{last}"


async def _exchange(address: str) -> Finding | None:
    """Send a word from this address to itself, as a call's packets would come."""
    loop = asyncio.get_running_loop()
    try:
        transport, ear = await loop.create_datagram_endpoint(_Ear, local_addr=(address, 0))
    except OSError as error:
        return _unknown(address, error)
    try:
        word = secrets.token_bytes(16)
        transport.sendto(word, transport.get_extra_info("sockname"))
        async with asyncio.timeout(ANSWER_SEC):
            return None if await ear.heard == word else _deaf(address, "something else came")
    except TimeoutError:
        return _deaf(address, "nothing came back")
    except OSError as error:
        return _deaf(address, error.strerror or str(error))
    finally:
        transport.abort()


class _Ear(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 (the name is asyncio's)
        if not self.heard.done():
            self.heard.set_result(data)

    def error_received(self, exc: OSError) -> None:  # type: ignore[override]  # it is one
        if not self.heard.done():
            self.heard.set_exception(exc)


def _unknown(address: str, error: OSError) -> Finding:
    return fault(
        ABOUT,
        f"{address}: {error.strerror or error}",  # uvloop tells it in words of its own
        expected="addresses of this machine to listen on",
        advice="Correct peer.listen_addresses: `ip address` shows what there is.",
    )


def _deaf(address: str, why: str) -> Finding:
    return fault(
        ABOUT,
        f"on {address}: {why}",
        expected="a datagram to come back to its own machine",
        advice="A firewall of this machine keeps UDP away (nft list ruleset shows its rules): let it through.",
    )
