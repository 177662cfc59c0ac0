"""Whose address a request came from, as far as anybody may be believed about it. Sans-I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

SAME_CALLER_BITS = 64  # of an IPv6 address: whoever has one has as many as they like that begin like it

type Address = IPv4Address | IPv6Address

_WITH_PORT = re.compile(r"\[(?P<six>[^\]]+)\](:\d+)?|(?P<four>[\d.]+):\d+")


def counted_as(address: str) -> str:
    """What stands for all addresses that one caller may have: itself, or the /64 that it is part of.

    Whatever is no address stands for itself.
    """
    known = _parsed(address)
    if isinstance(known, IPv6Address):
        return str(IPv6Network((known, SAME_CALLER_BITS), strict=False))
    return address if known is None else str(known)


class Proxies:
    """Those who are believed whom they speak for: networks like ``10.0.0.0/8``."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(network) for network in networks]

    def caller(self, connected: str, forwarded: Iterable[str]) -> str:
        """The caller's address.

        Each proxy adds at the right of ``X-Forwarded-For`` who spoke to it, and what stands further left than the
        last one who is trusted may be anybody's invention. So it is read from the right, up to the first address of
        somebody else, or up to what is no address.

        Args:
            connected: who has opened the connection
            forwarded: the values of the header, in their order
        """
        caller = connected
        said = [entry for value in forwarded for entry in value.split(",")]
        while said and self.trusts(caller):
            entry = _parsed(said.pop())
            if entry is None:
                break
            caller = str(entry)
        return caller

    def trusts(self, address: str) -> bool:
        known = _parsed(address)
        return known is not None and any(known in network for network in self._networks)


def _parsed(text: str) -> Address | None:
    text = text.strip()
    if match := _WITH_PORT.fullmatch(text):
        text = match["six"] or match["four"]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
