"""The callers of `tests.bench_sessions`, a process of its own: as lean as aiortc lets them be.

They send packets encoded beforehand, and note when packets come without decoding them. Standard output tells when all
are connected; a line on standard input begins the measurement, the next ends it, and a report follows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict, dataclass
from functools import cache
from itertools import cycle
from typing import Any

import av
import numpy as np
import uvloop
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import RtpPacket

from edge_client.webrtc.ice import Ice
from edge_client.webrtc.opus import FRAME_SAMPLES, PacketStore, VoiceEncoder
from edge_client.webrtc.opus_packet import RTP_RATE
from edge_client.webrtc.pace import Pace
from edge_client.webrtc.playout_track import RTP_TIME_BASE
from tests.sessions_server import cpu_sec, line, speech, standard_input, tell

PLAYER_BUFFER_SEC = 0.04  # what a player holds back: a packet later than that is heard as a gap
PACKETS_PER_SEC = 50
MARGIN_PACKETS = 2  # that the beginning and the end of the measurement may cut off


@dataclass(frozen=True, slots=True)
class CallersReport:
    """What all callers of the process received between the two signals."""

    cpu_sec: float
    sessions: int
    received: int
    missing: int  # of fifty a second, in sessions that got fewer
    late: int  # came more than `PLAYER_BUFFER_SEC` after the moment that their timestamps tell
    worst_late_ms: float


class EncodedTrack(MediaStreamTrack):
    """Sends a few seconds of speech again and again, encoded once for all callers."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._pace = Pace()
        self._payloads = cycle(payloads())

    async def recv(self) -> av.Packet[Any]:
        now = asyncio.get_running_loop().time
        await asyncio.sleep(self._pace.wait_sec(now()))
        packet = av.Packet(next(self._payloads))
        packet.pts, packet.time_base = self._pace.begin(now()), RTP_TIME_BASE
        return packet


@cache
def payloads() -> list[bytes]:
    encoder = VoiceEncoder(packets=PacketStore())
    packets = (encoder.encode(frame) for frame in speech(10.0, seed=2).reshape(-1, FRAME_SAMPLES))
    return [packet for packet in packets if packet is not None]


class Caller:
    """One call, and when its packets came."""

    def __init__(self) -> None:
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._transceiver = self._connection.addTransceiver(EncodedTrack(), direction="sendrecv")
        self._transceiver.receiver._handle_rtp_packet = self._note  # type: ignore[method-assign]
        self._connected = asyncio.Event()
        self._connection.on("connectionstatechange", self._changed)
        self._ice = Ice(addresses=("127.0.0.1",), loopback=False)
        self.arrivals: list[tuple[float, int]] = []  # when, and the RTP timestamp

    async def connect(self, port: int) -> None:
        await self._connection.setLocalDescription(await self._connection.createOffer())
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        writer.write(line({"sdp": self._connection.localDescription.sdp}))
        answer = json.loads(await reader.readline())["sdp"]
        await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        async with asyncio.timeout(20):
            await self._connected.wait()

    def _changed(self) -> None:
        if self._connection.connectionState == "connected":
            self._connected.set()

    async def _note(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        self.arrivals.append((asyncio.get_running_loop().time(), packet.timestamp))

    async def close(self) -> None:
        await self._connection.close()


def lateness_sec(arrivals: list[tuple[float, int]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How much later than the quickest of them each came, by its timestamp."""
    if not arrivals:
        return np.zeros(0)
    times = np.array([at for at, _ in arrivals])
    ticks = np.unwrap(np.array([float(timestamp) for _, timestamp in arrivals]), period=float(1 << 32))
    late: np.ndarray[Any, np.dtype[np.float64]] = times - ticks / RTP_RATE
    return late - late.min()


def report(callers: list[Caller], *, used_sec: float, wall_sec: float) -> CallersReport:
    late = [lateness_sec(caller.arrivals) for caller in callers]
    due = int(wall_sec * PACKETS_PER_SEC) - MARGIN_PACKETS
    return CallersReport(
        cpu_sec=used_sec,
        sessions=len(callers),
        received=sum(map(len, late)),
        missing=sum(max(due - len(session), 0) for session in late),
        late=sum(int((session > PLAYER_BUFFER_SEC).sum()) for session in late),
        worst_late_ms=1000 * max((float(session.max()) for session in late if len(session)), default=0.0),
    )


async def main(port: int, sessions: int) -> None:
    callers = [Caller() for _ in range(sessions)]
    for caller in callers:
        await caller.connect(port)
    tell({"connected": sessions})
    signals, now = await standard_input(), asyncio.get_running_loop().time
    await signals.readline()
    began, used = now(), cpu_sec()
    for caller in callers:
        caller.arrivals.clear()
    await signals.readline()
    tell(asdict(report(callers, used_sec=cpu_sec() - used, wall_sec=now() - began)))
    await asyncio.gather(*(caller.close() for caller in callers))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("sessions", type=int)
    arguments = parser.parse_args()
    uvloop.run(main(arguments.port, arguments.sessions))
