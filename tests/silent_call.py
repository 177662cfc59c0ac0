"""A caller and a peer who are connected, and say nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import numpy as np

from edge_client.webrtc.ice import LOOPBACK
from edge_client.webrtc.peer import Peer, PeerSettings
from tests.peers import Caller
from tests.sessions_server import Ear


class SilentCall(NamedTuple):
    caller: Caller
    peer: Peer


@asynccontextmanager
async def silent_call(change: Callable[[str], str] = lambda offer: offer) -> AsyncIterator[SilentCall]:
    """Connected until the block ends; ``change`` is what becomes of the caller's offer on its way."""
    async with Caller() as caller:
        peer = await Peer.answer(
            change(await caller.offer()),
            listener=Ear(),
            read=lambda count: np.zeros(count, np.float32),
            settings=PeerSettings(listen_addresses=(LOOPBACK,)),
        )
        running = asyncio.create_task(peer.run())
        await caller.accept(peer.description)
        await caller.connected()
        yield SilentCall(caller, peer)
    await running
