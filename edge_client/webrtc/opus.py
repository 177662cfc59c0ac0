"""The reply's voice as Opus: mono, 24 kHz, 20 ms a packet; encoded once for all callers who hear the same."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from edge_client.webrtc.libopus import OpusEncoder
from routing.turns import REPLY_SAMPLE_RATE, Samples

FRAME_SEC = 0.020
FRAME_SAMPLES = round(FRAME_SEC * REPLY_SAMPLE_RATE)  # 480
BIT_RATE = 32_000

# Takes 0.13 ms a packet. Complexity 1 takes half of that, and its copies for rebuilding lost packets are so coarse that
# with one packet in ten lost the spectrum is off by 2.7 dB instead of 2.1; 8 gains another 0.1 dB for 0.04 ms.
COMPLEXITY = 5

# The encoder spends bits on copies of what came before only while it expects loss, and makes them finer the more it
# expects. In steps, so that callers on links of one kind can share packets. Loss comes in bursts: with 5 % lost, a
# voice that is ready for 10 % is misheard 1.26 times as often as without loss, one that is ready for 5 % 1.41 times
# (`tests/bench_loss.py`). On a clean link that costs less than 0.1 dB of the spectrum, and no byte.
LEAST_LOSS_PERCENT = 10
MOST_LOSS_PERCENT = 30
LOSS_STEP_PERCENT = 5

SETTLING_FRAMES = 5  # of real silence after speech, until the encoder has forgotten the speech
REFRESH_FRAMES = 20  # with DTX, one packet in so many of silence: 400 ms

# An encoder's state is 32 kB. With one kept for every tenth packet a second of speech takes 180 kB here, and a caller
# who goes his own way after listening to the same encodes at most nine frames again, in a millisecond.
CHECKPOINT_FRAMES = 10
STORE_BYTES = 4 * 1024 * 1024
ENTRY_BYTES = 300  # what Python spends on an entry besides its contents


class _Frame(NamedTuple):
    samples: Samples
    loss_percent: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """One packet, and the encoder's state after it where it was kept."""

    packet: bytes
    state: bytes | None

    @property
    def size(self) -> int:
        return ENTRY_BYTES + len(self.packet) + len(self.state or b"")


@dataclass(frozen=True, slots=True)
class PacketStoreStatistics:
    """What the store holds now, and how often it could help since the program began."""

    entries: int
    size: int  # bytes
    found: int  # packets that need not be encoded
    encoded: int


class PacketStore:
    """Packets encoded lately, by a digest of all that they depend on. What was not used for longest goes first.

    It is shared by all callers of a process and belongs to the thread of their event loop.
    """

    def __init__(self, *, limit_bytes: int = STORE_BYTES) -> None:
        self._limit = limit_bytes
        self._entries = OrderedDict[bytes, Encoded]()
        self._size = 0
        self._found = 0
        self._encoded = 0

    def find(self, digest: bytes) -> Encoded | None:
        entry = self._entries.get(digest)
        if entry is not None:
            self._entries.move_to_end(digest)
            self._found += 1
        return entry

    def keep(self, digest: bytes, entry: Encoded) -> None:
        """``digest`` must not be here yet."""
        self._entries[digest] = entry
        self._size += entry.size
        self._encoded += 1
        while self._size > self._limit:
            _, oldest = self._entries.popitem(last=False)
            self._size -= oldest.size

    def statistics(self) -> PacketStoreStatistics:
        return PacketStoreStatistics(len(self._entries), self._size, self._found, self._encoded)


@cache
def shared_packets() -> PacketStore:
    """The store of this process."""
    return PacketStore()


class SharedEncoder:
    """One caller's stream of packets, of which only those are encoded that no other stream has brought lately.

    A packet depends on the frames since the last `settle`, or since the beginning, and on nothing else: streams that
    get the same frames are one stream until they part. Looking a packet up costs a fiftieth of encoding it.
    """

    def __init__(self, packets: PacketStore) -> None:
        self._packets = packets
        self._begin(_nothing_yet())

    def settle(self) -> None:
        """The silence packet was sent: go on from the state that made it, in which the listener's decoder is now."""
        self._begin(_settled_silence())

    def _begin(self, last: _Step) -> None:
        self._digest = blake2b(last.packet, digest_size=16).digest()
        self._state = last.state
        self._ahead: list[_Frame] = []  # found encoded, and so not part of the state yet
        self._frames = 0

    def encode(self, samples: Samples, loss_percent: int) -> bytes:
        """The packet of the next frame."""
        frame = _Frame(samples, loss_percent)
        self._digest = _digest(self._digest, frame)
        self._frames += 1
        found = self._packets.find(self._digest)
        if found is None:
            return self._encode(frame)
        self._follow(found, frame)
        return found.packet

    def _follow(self, found: Encoded, frame: _Frame) -> None:
        if found.state is None:
            self._ahead.append(frame)
        else:
            self._state, self._ahead = found.state, []

    def _encode(self, frame: _Frame) -> bytes:
        for passed in self._ahead:
            self._state, _ = _step(self._state, passed)
        self._ahead = []
        self._state, packet = _step(self._state, frame)
        is_checkpoint = self._frames % CHECKPOINT_FRAMES == 0
        self._packets.keep(self._digest, Encoded(packet, self._state if is_checkpoint else None))
        return packet


class VoiceEncoder:
    """An encoder for speech with much silence in between, which costs next to nothing here.

    Long silence is not encoded but sent as one packet made once. The first `SETTLING_FRAMES` of a silence are
    encoded all the same: then the next word begins from the state in which the listener's decoder is.
    """

    def __init__(self, *, packets: PacketStore | None = None, dtx: bool = False) -> None:
        self._stream = SharedEncoder(packets or shared_packets())
        self._dtx = dtx
        self._loss_percent = LEAST_LOSS_PERCENT
        self._quiet_frames = SETTLING_FRAMES

    def encode(self, samples: Samples) -> bytes | None:
        """Turn exactly `FRAME_SAMPLES` within -1 and 1 into one packet; with DTX None where none need be sent.

        The samples must not change afterwards.
        """
        self._quiet_frames = 0 if samples.any() else self._quiet_frames + 1
        if self.silent:
            return self._silence()
        if len(samples) != FRAME_SAMPLES:
            raise ValueError(f"expected {FRAME_SAMPLES} samples, got {len(samples)}")
        return self._stream.encode(np.ascontiguousarray(samples, np.float32), self._loss_percent)

    def expect_loss(self, fraction: float) -> None:
        """Make what follows fit for a link on which such a part of the packets is lost."""
        steps = round(fraction * 100 / LOSS_STEP_PERCENT)
        self._loss_percent = min(max(steps * LOSS_STEP_PERCENT, LEAST_LOSS_PERCENT), MOST_LOSS_PERCENT)

    @property
    def silent(self) -> bool:
        """Whether the last frame belonged to a long silence."""
        return self._quiet_frames > SETTLING_FRAMES

    def _silence(self) -> bytes | None:
        passed = self._quiet_frames - SETTLING_FRAMES - 1
        if not passed:
            self._stream.settle()
        if not passed or not self._dtx:
            return silence_packet()
        return untransmitted_packet() if passed % REFRESH_FRAMES == 1 else None


def silence_packet() -> bytes:
    """20 ms of silence, from the middle of a long silence."""
    return _settled_silence().packet


@cache
def untransmitted_packet() -> bytes:
    """Says that nothing is sent until the next packet: the head of a packet with an empty frame, as Opus has it."""
    return silence_packet()[:1]


# -- encoding as a function of state and frame -----------------------------------------------------------------------


class _Step(NamedTuple):
    state: bytes  # after the packet
    packet: bytes


@cache
def _nothing_yet() -> _Step:
    return _Step(_new_encoder().state, b"")


@cache
def _settled_silence() -> _Step:
    silence, result = _Frame(np.zeros(FRAME_SAMPLES, np.float32), LEAST_LOSS_PERCENT), _nothing_yet()
    for _ in range(50):
        result = _step(result.state, silence)
    return result


def _step(state: bytes, frame: _Frame) -> _Step:
    encoder = _encoder()
    encoder.state = state
    encoder.expect_loss(frame.loss_percent)
    packet = encoder.encode(frame.samples.clip(-1.0, 1.0))
    return _Step(encoder.state, packet)


@cache
def _encoder() -> OpusEncoder:
    """One for all streams: each brings its own state, in a microsecond."""
    return _new_encoder()


def _new_encoder() -> OpusEncoder:
    return OpusEncoder(REPLY_SAMPLE_RATE, bit_rate=BIT_RATE, complexity=COMPLEXITY)


def _digest(previous: bytes, frame: _Frame) -> bytes:
    return blake2b(frame.samples, key=previous, salt=bytes([frame.loss_percent]), digest_size=16).digest()


# -- what the listener wants -----------------------------------------------------------------------------------------

_OPUS = re.compile(r"a=rtpmap:(\d{1,3}) opus/48000\b", re.IGNORECASE)


def wants_dtx(sdp: str) -> bool:
    """Whether whoever wrote ``sdp`` would rather get next to nothing than silence: ``usedtx=1`` for Opus."""
    lines = sdp.splitlines()
    types = {opus[1] for line in lines if (opus := _OPUS.match(line))}
    return any("usedtx=1" in parameters for line in lines for parameters in _opus_parameters(line, types))


def _opus_parameters(line: str, types: set[str]) -> Iterator[set[str]]:
    kind, _, parameters = line.removeprefix("a=fmtp:").partition(" ")
    if line.startswith("a=fmtp:") and kind in types:
        yield {parameter.strip().lower() for parameter in parameters.split(";")}
