"""When a connection came about, step by step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class ConnectMoments:
    """In event loop time; None is what has not come yet."""

    offered: float
    answered: float | None = None
    reached: float | None = None  # a way to the caller was found (ICE)
    pair_type: str | None = None  # and by what kind of address
    connected: float | None = None  # and secured (DTLS): sound can flow
    first_sound: float | None = None  # the caller's first packet was heard
