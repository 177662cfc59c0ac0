"""The server of `tests.bench_sessions`, a process of its own: media only, and measured from inside.

Standard output tells where it listens; a line on standard input begins the measurement, the next ends it, and a report
follows. Callers connect by TCP and write their offer as one line of JSON; the answer comes back likewise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from fractions import Fraction

import aioice.ice
import av
import numpy as np
import uvloop
from aiortc import AudioStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from edge_client.loop_lag import LoopLag, watch_loop
from edge_client.webrtc.opus import FRAME_SAMPLES, FRAME_SEC, shared_packets
from edge_client.webrtc.peer import Peer, PeerSettings
from routing.errors import InvalidRequest
from routing.turns import REPLY_SAMPLE_RATE, Samples

SOUND_SEC = 30
EXCHANGE_SEC = 5.0  # of which the edge talks so much:
SHARES = {"own": 1.0, "shared": 0.96, "conversation": 0.4}
APART_SAMPLES = 7_919 * 3  # between the beginnings of two sessions' replies: no whole number of frames

type Read = Callable[[int], Samples]


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What the server used between the two signals."""

    wall_sec: float
    cpu_sec: float  # of all its threads, user and system
    lag_p50_ms: float
    lag_p99_ms: float
    lag_worst_ms: float
    threads: int
    heard: int  # samples, or frames of stock aiortc: that all was decoded
    found: int  # packets that another session had encoded
    encoded: int


def speech(seconds: float, *, seed: int) -> Samples:
    """Sound that costs an encoder what speech costs it: a voice whose pitch and loudness move, with some breath."""
    rng, times = np.random.default_rng(seed), np.arange(int(seconds * REPLY_SAMPLE_RATE)) / REPLY_SAMPLE_RATE
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 0.7 * times)) / REPLY_SAMPLE_RATE
    voiced = sum(np.sin(count * phase) / count for count in range(1, 20))
    loudness = np.clip(np.sin(2 * np.pi * 2.5 * times), 0.02, 1.0)
    return (0.15 * voiced * loudness + 0.003 * rng.standard_normal(len(times))).astype(np.float32)


# -- replies ---------------------------------------------------------------------------------------------------------


class Reply:
    """Talks on and on from somewhere in ``sound``; with ``share`` below 1 it falls silent for the rest of the time."""

    def __init__(self, sound: Samples, *, start: int, share: float = 1.0) -> None:
        self._sound = sound
        self._at = start
        self._share = share

    def read(self, count: int) -> Samples:
        at = self._at
        self._at += count
        if at / REPLY_SAMPLE_RATE % EXCHANGE_SEC >= self._share * EXCHANGE_SEC:
            return np.zeros(count, np.float32)
        begin = at % (len(self._sound) - count)
        return self._sound[begin : begin + count]


class Replies:
    """One for each caller, as ``mode`` says: of their own, one for all of them, or one with much silence in it."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._sound = speech(SOUND_SEC, seed=1)
        self._begun = time.monotonic()
        self._count = 0

    def next(self) -> Read:
        self._count += 1
        start = self._now() if self._mode == "shared" else self._count * APART_SAMPLES
        return Reply(self._sound, start=start, share=SHARES[self._mode]).read

    def _now(self) -> int:
        """Where all are who hear the same; whoever comes later shares with them after the next pause."""
        return int((time.monotonic() - self._begun) / FRAME_SEC) * FRAME_SAMPLES


# -- our own media path ----------------------------------------------------------------------------------------------


class Ear:
    """A listener that only counts."""

    def __init__(self) -> None:
        self.count = 0

    def heard(self, samples: Samples) -> None:
        self.count += len(samples)

    def opened(self) -> None:
        """Nothing is said by events here."""

    def received(self, text: str) -> None:
        """Nothing is said by events here."""

    def refused(self, fault: InvalidRequest) -> None:
        """Nothing is said by events here."""

    def acknowledged(self) -> None:
        """Nobody keeps what was heard here."""

    def lost(self) -> None:
        """Nobody keeps what was heard here."""


class TunedServer:
    """Calls as the edge takes them."""

    def __init__(self, replies: Replies) -> None:
        self._replies = replies
        self._ear = Ear()

    async def call(self, offer: str, answered: Callable[[str], None]) -> None:
        settings = PeerSettings(listen_addresses=("127.0.0.1",))
        peer = await Peer.answer(offer, listener=self._ear, read=self._replies.next(), settings=settings)
        answered(peer.description)
        await peer.run()

    @property
    def heard(self) -> int:
        return self._ear.count


# -- stock aiortc ----------------------------------------------------------------------------------------------------


class StockTrack(AudioStreamTrack):
    """Frames of 16-bit sound at 24 kHz, paced by aiortc's own silence track."""

    def __init__(self, read: Read) -> None:
        super().__init__()
        self._next = read
        self._pts = 0

    async def recv(self) -> av.AudioFrame:
        await super().recv()  # paces
        sound = (self._next(FRAME_SAMPLES) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.time_base = REPLY_SAMPLE_RATE, Fraction(1, REPLY_SAMPLE_RATE)
        frame.pts, self._pts = self._pts, self._pts + FRAME_SAMPLES
        return frame


class StockServer:
    """Calls as aiortc's documentation takes them, with the sound resampled to 16 kHz mono."""

    def __init__(self, replies: Replies) -> None:
        self._replies = replies
        self.heard = 0
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]

    async def call(self, offer: str, answered: Callable[[str], None]) -> None:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        coming: asyncio.Future[MediaStreamTrack] = asyncio.get_running_loop().create_future()
        connection.on("track", coming.set_result)
        connection.addTrack(StockTrack(self._replies.next()))
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await connection.setLocalDescription()
        answered(connection.localDescription.sdp)
        try:
            await self._listen(await coming)
        finally:
            await connection.close()

    async def _listen(self, track: MediaStreamTrack) -> None:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
        with suppress(MediaStreamError):
            while True:
                for frame in resampler.resample(await track.recv()):  # type: ignore[arg-type]
                    self.heard += len(frame.to_ndarray()[0])


# -- the process -----------------------------------------------------------------------------------------------------


class Meter:
    """Reads the process's own counters when the measurement begins, and when it ends."""

    def __init__(self, server: TunedServer | StockServer) -> None:
        self._server = server
        self._began = time.perf_counter()
        self._cpu_sec = cpu_sec()
        self._heard = server.heard
        self._packets = shared_packets().statistics()
        self._lag = LoopLag()
        self._watching = asyncio.create_task(watch_loop(self._lag))

    def report(self) -> ServerReport:
        self._watching.cancel()
        lag, packets = self._lag.statistics(), shared_packets().statistics()
        return ServerReport(
            wall_sec=time.perf_counter() - self._began,
            cpu_sec=cpu_sec() - self._cpu_sec,
            lag_p50_ms=lag.p50_sec * 1000,
            lag_p99_ms=lag.p99_sec * 1000,
            lag_worst_ms=lag.worst_sec * 1000,
            threads=threading.active_count(),
            heard=self._server.heard - self._heard,
            found=packets.found - self._packets.found,
            encoded=packets.encoded - self._packets.encoded,
        )


def cpu_sec() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main(engine: str, mode: str) -> None:
    replies = Replies(mode)
    server = StockServer(replies) if engine == "stock" else TunedServer(replies)
    calls = set[asyncio.Task[None]]()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        offer = json.loads(await reader.readline())["sdp"]
        call = asyncio.create_task(server.call(offer, lambda sdp: writer.write(line({"sdp": sdp}))))
        calls.add(call)

    listening = await asyncio.start_server(take, "127.0.0.1", 0)
    tell({"port": listening.sockets[0].getsockname()[1]})
    signals = await standard_input()
    await signals.readline()
    meter = Meter(server)
    await signals.readline()
    tell(asdict(meter.report()))
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def line(message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


def tell(message: object) -> None:
    sys.stdout.buffer.write(line(message))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=("tuned", "stock"))
    parser.add_argument("mode", choices=("own", "shared", "conversation"))
    arguments = parser.parse_args()
    uvloop.run(main(arguments.engine, arguments.mode))
