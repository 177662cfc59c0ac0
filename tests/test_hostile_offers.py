"""Offers that are spoilt in every way: each is answered or refused in the protocol's words, soon, and nothing stays."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from typing import NamedTuple

import pytest

from edge_client.playout import Playout
from edge_client.webrtc.ice import LOOPBACK
from edge_client.webrtc.peer import Peer, PeerSettings
from routing.errors import AtCapacity, InvalidRequest
from tests.conftest import resources, settled
from tests.memory import resident_bytes
from tests.mutations import spoilt_offer
from tests.peers import Caller
from tests.test_webrtc_peer import CHROMIUM_OFFER, Notes

SETTINGS = PeerSettings(listen_addresses=(LOOPBACK,))
LONGEST_SEC = 1.0  # of the processor: by the clock, what else the machine does counts too
LONGEST_WAIT_SEC = 10.0  # by the clock
SETTLING_OFFERS = 500  # after which memory has all that every later offer uses too
GROWTH_BYTES = 16 * 2**20  # of resident memory, over ten times as many: what an allocator keeps, 3 KiB of each


class Outcome(NamedTuple):
    """What became of offers: how many had each end, and the most processor time that an answer or a refusal took."""

    ends: Counter[str]
    longest_sec: float


async def offered(offers: list[str], seeds: range) -> Outcome:
    """Each offer is answered on its own, as the edge does it, and its connection closed."""
    ends: Counter[str] = Counter()
    longest_sec = 0.0
    for seed in seeds:
        began = time.process_time()
        try:
            async with asyncio.timeout(LONGEST_WAIT_SEC):
                peer = await Peer.answer(
                    spoilt_offer(offers, seed), listener=Notes(), read=Playout().read, settings=SETTINGS
                )
        except (InvalidRequest, AtCapacity) as refused:
            ends[type(refused).__name__] += 1
            longest_sec = max(longest_sec, time.process_time() - began)
        else:
            longest_sec = max(longest_sec, time.process_time() - began)
            ends["answered"] += 1
            await peer.close()
    return Outcome(ends, longest_sec)


@pytest.fixture
async def offers(nothing_left_behind: None) -> list[str]:
    async with Caller() as caller:
        return [CHROMIUM_OFFER, await caller.offer()]


@pytest.mark.slow
async def test_spoilt_offers_are_answered_or_refused(offers: list[str]) -> None:
    outcome = await offered(offers, range(60))
    assert set(outcome.ends) == {"answered", "InvalidRequest"}


@pytest.mark.hostile
@pytest.mark.timeout(280)
async def test_five_thousand_spoilt_offers_leave_nothing_behind(
    offers: list[str], collector_of_the_edge: None, capsys: pytest.CaptureFixture[str]
) -> None:
    await offered(offers, range(SETTLING_OFFERS))
    gc.collect()
    memory, base = await resident_bytes(), resources()
    outcome = await offered(offers, range(SETTLING_OFFERS, SETTLING_OFFERS + 5000))
    left = await settled(lambda: resources().beyond(base))
    gc.collect()
    await asyncio.sleep(0)
    growth = await resident_bytes() - memory
    with capsys.disabled():
        print(  # noqa: T201 (a figure to be read)
            f"\n5,000 spoilt offers: {dict(outcome.ends)}, the longest took {outcome.longest_sec * 1000:.0f} ms,"
            f" memory {memory / 2**20:.0f} MiB {growth / 2**20:+.1f}"
        )
    assert not any(left)
    assert outcome.longest_sec < LONGEST_SEC
    assert set(outcome.ends) == {"answered", "InvalidRequest"}
    assert growth < GROWTH_BYTES
