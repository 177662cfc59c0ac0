"""How long sound takes through the receive path: ours beside aiortc's own, alternating in one run.

Run ``python -m tests.bench_receive`` on an idle machine; it takes about two and a half minutes. Two real peers in this
process, on the edge's event loop: one sends a packet every 20 ms, the other receives it with `Receiver`, or as aiortc
comes: jitter buffer, decoder thread, ``track.recv()``. The delay of a frame is counted from when its packet leaves its
sender until the listener was given the sound of that frame, or whatever stands in its place. So a lost frame counts
too, with when its substitute came; aiortc has none, there it counts with the first sound that comes after it. The
network's own delay is in it. The 20 ms in which a frame is spoken are not.

Scenarios: a clean network; exactly one lost packet, and the delay from one second after it on; 60 ± 30 ms of delay and
5 % loss in bursts, in order as most networks have it, and out of order.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple, cast

import av
import numpy as np
import uvloop
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket, is_rtcp
from rich.console import Console
from rich.table import Table

from edge_client.network.emulated import emulate
from edge_client.network.profile import CLEAN, NetworkProfile
from edge_client.webrtc.ice import LOOPBACK, Ice
from edge_client.webrtc.libopus import OpusEncoder
from edge_client.webrtc.receiver import Receiver
from routing.turns import SPEECH_SAMPLE_RATE, Samples

FRAME_SEC = 0.020
RTP_RATE = 48_000
FRAME_TICKS = round(FRAME_SEC * RTP_RATE)
SENDING_RATE = 24_000
TICKS_PER_SAMPLE = RTP_RATE // SPEECH_SAMPLE_RATE
CONNECT_TIMEOUT_SEC = 10.0
LEAD_IN_FRAMES = 50  # not counted: the decoder and the network begin to run
LEAD_OUT_SEC = 1.0  # of sending on, so that what is counted also comes out of a long buffer

HARSH = NetworkProfile(name="60 ± 30 ms, 5 % loss in bursts", delay_ms=60, jitter_ms=30, loss=0.05, burst=0.4)
HARSH_UNORDERED = NetworkProfile(
    name="the same, out of order", delay_ms=60, jitter_ms=30, loss=0.05, burst=0.4, reorder=True
)


class Target(NamedTuple):
    """A percentile that is promised, in milliseconds; None: it is only reported."""

    percentile: int
    most_ms: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """A network, and which frames are counted."""

    name: str
    network: NetworkProfile
    lost_frame: int | None = None  # never sent
    settle_frames: int = 0  # not counted after the lost one
    target: Target | None = None

    @property
    def first_counted(self) -> int:
        return LEAD_IN_FRAMES if self.lost_frame is None else self.lost_frame + self.settle_frames


SCENARIOS = (
    Scenario("clean", CLEAN, target=Target(50, 10.0)),
    Scenario("1 s after one lost packet", CLEAN, LEAD_IN_FRAMES, round(1 / FRAME_SEC), Target(95, 20.0)),
    Scenario(HARSH.name, HARSH, target=Target(95, 90.0)),
    Scenario(HARSH_UNORDERED.name, HARSH_UNORDERED),
)


@dataclass(slots=True)
class Diary:
    """When each frame left, and how far the listener was with the sender's time whenever it was given sound.

    Read on the system's clock: that of uvloop stands still while one round of the loop runs.
    """

    first_timestamp: int | None = None  # of the first packet that came
    left: dict[int, float] = field(default_factory=dict)  # RTP timestamp of a frame -> when its packet left
    given: list[tuple[int, float]] = field(default_factory=list)  # (ticks since the first packet, when)

    def delays(self, scenario: Scenario) -> Iterator[float]:
        """In seconds, of each frame that counts; those of which nothing ever came are left out."""
        assert self.first_timestamp is not None, "nothing came at all"
        given = iter(self.given)
        reached, at = next(given, (0, 0.0))
        for index, (timestamp, left) in enumerate(self.left.items()):
            end = (timestamp - self.first_timestamp + (1 << 31)) % (1 << 32) - (1 << 31) + FRAME_TICKS
            while reached < end:
                reached, at = next(given, (1 << 62, -1.0))
            if index >= scenario.first_counted and at >= 0:
                yield at - left


class Voice(MediaStreamTrack):
    """One packet every 20 ms, encoded beforehand."""

    kind = "audio"

    def __init__(self, packets: Sequence[bytes]) -> None:
        super().__init__()
        self._packets = packets
        self._sent = 0
        self._began_at: float | None = None

    async def recv(self) -> av.Packet[Any]:
        loop = asyncio.get_running_loop()
        self._began_at = loop.time() if self._began_at is None else self._began_at
        await asyncio.sleep(self._began_at + self._sent * FRAME_SEC - loop.time())
        packet = av.Packet(self._packets[self._sent % len(self._packets)])
        packet.pts, packet.time_base = self._sent * FRAME_TICKS, Fraction(1, RTP_RATE)
        self._sent += 1
        return packet


def voice_packets(seconds: float = 4.0) -> list[bytes]:
    """Noise that rises and falls about three times a second, as syllables do."""
    times = np.arange(round(seconds * SENDING_RATE)) / SENDING_RATE
    noise = np.random.default_rng(0).standard_normal(len(times))
    sound = (0.1 * noise * np.sin(np.pi * 3 * times) ** 2).astype(np.float32)
    encoder = OpusEncoder(SENDING_RATE, bit_rate=32_000)
    return [encoder.encode(frame) for frame in np.split(sound, round(seconds / FRAME_SEC))]


# -- who listens -----------------------------------------------------------------------------------------------------


def listen_ours(connection: RTCPeerConnection, rtc_receiver: RTCRtpReceiver, diary: Diary) -> None:
    handed_on = 0

    def take(samples: Samples) -> None:
        nonlocal handed_on
        handed_on += len(samples)
        skipped = receiver.statistics().jitter.skipped
        diary.given.append(((handed_on + skipped) * TICKS_PER_SAMPLE, time.monotonic()))

    receiver = Receiver(rtc_receiver, take)


def listen_stock(connection: RTCPeerConnection, rtc_receiver: RTCRtpReceiver, diary: Diary) -> None:
    async def listen(track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = cast("av.AudioFrame", await track.recv())
            except MediaStreamError:
                return
            diary.given.append(((frame.pts or 0) + frame.samples, time.monotonic()))

    @connection.on("track")
    def begin(track: MediaStreamTrack) -> None:
        rtc_receiver.listening = asyncio.create_task(listen(track))  # type: ignore[attr-defined]


type Listen = Callable[[RTCPeerConnection, RTCRtpReceiver, Diary], None]
LISTENERS: dict[str, Listen] = {"ours": listen_ours, "aiortc": listen_stock}


def note_first(rtc_receiver: RTCRtpReceiver, diary: Diary) -> None:
    take = rtc_receiver._handle_rtp_packet

    async def noted(packet: RtpPacket, arrival_time_ms: int) -> None:
        if diary.first_timestamp is None:
            diary.first_timestamp = packet.timestamp
        await take(packet, arrival_time_ms=arrival_time_ms)

    rtc_receiver._handle_rtp_packet = noted  # type: ignore[method-assign]


def note_leaving(connection: RTCPeerConnection, diary: Diary, lost_frame: int | None) -> None:
    transport = connection.getSenders()[0].transport
    send = transport._send_rtp

    async def noted(data: bytes) -> None:
        if not is_rtcp(data):
            index = len(diary.left)
            diary.left[int.from_bytes(data[4:8], "big")] = time.monotonic()
            if index == lost_frame:
                return
        await send(data)

    transport._send_rtp = noted  # type: ignore[method-assign]


# -- a call ----------------------------------------------------------------------------------------------------------


async def measure(listen: Listen, scenario: Scenario, *, packets: Sequence[bytes], seconds: float, seed: int) -> Diary:
    caller = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    callee = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        return await call(caller, callee, listen, scenario, packets=packets, seconds=seconds, seed=seed)
    finally:
        await caller.close()
        await callee.close()


async def call(
    caller: RTCPeerConnection,
    callee: RTCPeerConnection,
    listen: Listen,
    scenario: Scenario,
    *,
    packets: Sequence[bytes],
    seconds: float,
    seed: int,
) -> Diary:
    diary, network = Diary(), Ice(addresses=(LOOPBACK,), loopback=False)
    caller.addTransceiver(Voice(packets), direction="sendonly")
    rtc_receiver = callee.addTransceiver("audio", direction="recvonly").receiver
    listen(callee, rtc_receiver, diary)
    note_first(rtc_receiver, diary)
    note_leaving(caller, diary, scenario.lost_frame)
    await caller.setLocalDescription(await caller.createOffer())
    await callee.setRemoteDescription(caller.localDescription)
    network.guard(callee)
    await callee.setLocalDescription(await callee.createAnswer())
    if scenario.network is not CLEAN:
        emulate(network, scenario.network, seed=seed)
    await caller.setRemoteDescription(callee.localDescription)
    await until(lambda: len(diary.left) > scenario.first_counted, CONNECT_TIMEOUT_SEC)
    await asyncio.sleep(seconds)
    counted = len(diary.left)
    await asyncio.sleep(LEAD_OUT_SEC)
    diary.left = dict(list(diary.left.items())[:counted])
    return diary


async def until(condition: Callable[[], bool], timeout_sec: float) -> None:
    async with asyncio.timeout(timeout_sec):
        while not condition():
            await asyncio.sleep(FRAME_SEC)


# -- figures ---------------------------------------------------------------------------------------------------------


def rows(scenario: Scenario, delays: dict[str, list[float]]) -> Iterator[list[str]]:
    stock = {percentile: np.percentile(delays["aiortc"], percentile) for percentile in (50, 95, 100)}
    for name, values in delays.items():
        figures = {percentile: np.percentile(values, percentile) for percentile in (50, 95, 100)}
        ratios = (f"{figures[percentile] / stock[percentile]:.3f}" for percentile in (50, 95))
        yield [
            scenario.name if name == "ours" else "",
            name,
            *(f"{1000 * figure:.1f}" for figure in figures.values()),
            *(ratios if name == "ours" else ("", "")),
            str(len(values)),
            verdict(scenario.target, values) if name == "ours" else "",
        ]


def verdict(target: Target | None, delays: list[float]) -> str:
    if target is None:
        return ""
    got = 1000 * float(np.percentile(delays, target.percentile))
    return f"p{target.percentile} ≤ {target.most_ms:.0f} ms: {'met' if got <= target.most_ms else 'MISSED'}"


COLUMNS = ("scenario", "receiver", "p50 ms", "p95", "max", "p50 ÷ aiortc", "p95 ÷ aiortc", "frames", "target")


async def bench(scenarios: Sequence[Scenario], *, rounds: int, seconds: float) -> Table:
    table, packets = Table(*COLUMNS, title="one way, packet sent to sound handed on"), voice_packets()
    for scenario in scenarios:
        delays: dict[str, list[float]] = {name: [] for name in LISTENERS}
        for seed in range(rounds):
            for name, listen in LISTENERS.items():
                diary = await measure(listen, scenario, packets=packets, seconds=seconds, seed=seed)
                delays[name] += diary.delays(scenario)
        for row in rows(scenario, delays):
            table.add_row(*row)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="calls of each kind in each scenario (default: 2)")
    parser.add_argument("--seconds", type=float, default=6.0, help="how much of each call counts (default: 6)")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    table = uvloop.run(bench(SCENARIOS, rounds=arguments.rounds, seconds=arguments.seconds))
    console = Console(width=160)
    console.print(table)
    console.print(f"{os.cpu_count()} cores, load average {load:.1f} before and {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
