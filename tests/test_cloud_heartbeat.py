"""Heartbeats over real sockets: what the outlook is told of a cloud that is well, silent, broken, or back again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edge_client.cloud.heartbeat import Heartbeat
from edge_client.cloud.settings import CloudSettings
from routing.errors import SettingsError
from routing.load import Load
from routing.outlook import Outlook
from routing.policy import Traits
from tests.cloud_server import CloudServer, Faults, cloud_server
from tests.scripted import ScriptedBackend

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


class Witness(Outlook):
    """Keeps what it is told, to be read in order."""

    def __init__(self) -> None:
        super().__init__("cloud", Traits(is_remote=True))
        self.notes: asyncio.Queue[str | Load] = asyncio.Queue()
        self.is_broken = False

    def note_round_trip(self, seconds: float, now: float) -> None:
        assert 0 < seconds < now
        if self.is_broken:
            raise ZeroDivisionError("a fault of our own")
        super().note_round_trip(seconds, now)
        self.notes.put_nowait("round trip")

    def note_load(self, load: Load, now: float) -> None:
        super().note_load(load, now)
        self.notes.put_nowait(load)

    def note_silence(self, now: float) -> None:
        super().note_silence(now)
        self.notes.put_nowait("silence")

    async def until(self, note: str | Load) -> None:
        while await self.notes.get() != note:
            pass


@asynccontextmanager
async def beating(settings: CloudSettings) -> AsyncIterator[tuple[Heartbeat, Witness]]:
    witness = Witness()
    heartbeat = Heartbeat(settings, witness)
    running = asyncio.create_task(heartbeat.run())
    try:
        yield heartbeat, witness
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])


@asynccontextmanager
async def beating_cloud(
    *, heartbeat_sec: float = 0.01, patience_sec: float = 5.0, faults: Faults | None = None
) -> AsyncIterator[tuple[CloudServer, Witness]]:
    async with cloud_server(ScriptedBackend(), faults=faults) as cloud:
        settings = CloudSettings(
            url=cloud.url,
            heartbeat_sec=heartbeat_sec,
            longest_back_off_sec=30.0,
            heartbeat_timeout_sec=patience_sec,
            connect_timeout_sec=patience_sec,
        )
        async with beating(settings) as (_, witness):
            yield cloud, witness


async def test_every_beat_tells_the_round_trip_and_the_load() -> None:
    async with beating_cloud() as (cloud, witness):
        told = [await witness.notes.get() for _ in range(4)]
        assert told == ["round trip", cloud.load, "round trip", cloud.load]
        cloud.load = Load(slots=4, in_use=4, waiting=2, queue_wait_sec=0.5)
        await witness.until(cloud.load)
        assert [request.path for request in cloud.requests] == ["/v1/heartbeat"]


async def test_a_slow_network_is_seen_in_the_round_trip() -> None:
    async with beating_cloud(faults=Faults(delay_sec=0.02)) as (_, witness):
        await witness.until("round trip")
        now = asyncio.get_running_loop().time()
        assert witness.prospect(1.0, now).rtt_sec >= 0.02


async def test_a_cloud_that_falls_silent_is_tried_until_it_is_back() -> None:
    async with beating_cloud(patience_sec=0.05) as (cloud, witness):
        await witness.until("round trip")
        cloud.faults.is_deaf = True
        await witness.until("silence")
        await witness.until("silence")
        cloud.faults.is_deaf = False
        await witness.until("round trip")


async def test_a_connection_that_breaks_between_two_beats_is_noticed_at_once() -> None:
    async with beating_cloud(heartbeat_sec=30.0) as (cloud, witness):
        await witness.until(cloud.load)
        cloud.cut()
        await witness.until("silence")


@pytest.mark.parametrize("garbage", ["hello", b"\x07noise", b'\x01\x06{"number":1}', b'\x01\x12{"number":1}'])
async def test_nonsense_is_as_good_as_silence(garbage: bytes | str) -> None:
    async with beating_cloud(faults=Faults(garbage=garbage)) as (cloud, witness):
        await witness.until("silence")
        cloud.faults.garbage = None
        await witness.until("round trip")


async def test_a_refusal_is_silence() -> None:
    async with beating_cloud(faults=Faults(refuse_http=503, retry_after="1")) as (cloud, witness):
        await witness.until("silence")
        cloud.faults.refuse_http = None
        await witness.until("round trip")


async def test_a_fault_of_our_own_does_not_stop_it(caplog: pytest.LogCaptureFixture) -> None:
    async with beating_cloud() as (_, witness):
        witness.is_broken = True
        await witness.until("silence")
        witness.is_broken = False
        await witness.until("round trip")
    assert "the heartbeat of cloud stumbled" in caplog.text


async def test_a_cloud_that_is_not_there_is_tried_less_and_less_often() -> None:
    settings = CloudSettings(url="ws://127.0.0.1:9", heartbeat_sec=0.004, longest_back_off_sec=0.005)
    async with beating(settings) as (heartbeat, witness):
        pauses = []
        for _ in range(5):
            await witness.until("silence")
            pauses.append(heartbeat._back_off_sec)
    assert pauses == [0.001, 0.002, 0.004, 0.005, 0.005]


async def test_a_heartbeat_needs_a_cloud() -> None:
    with pytest.raises(SettingsError, match="expected the URL of a cloud"):
        Heartbeat(CloudSettings(), Witness())
