"""The reply's voice as Opus: mono, 24 kHz, 20 ms a packet."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import av
import numpy as np

from routing.turns import REPLY_SAMPLE_RATE, Samples

FRAME_SEC = 0.020
FRAME_SAMPLES = round(FRAME_SEC * REPLY_SAMPLE_RATE)  # 480
BIT_RATE = 32_000

# In-band FEC lets the caller rebuild a lost packet from the next one; the encoder spends bits on it only while it
# expects loss. Complexity 5 of 10 takes about 0.15 ms a packet.
OPTIONS = {
    "application": "voip",
    "frame_duration": "20",
    "fec": "1",
    "packet_loss": "5",
    "compression_level": "5",
}

SETTLING_FRAMES = 5  # of real silence after speech, until the encoder has forgotten the speech


class OpusEncoder:
    """A plain encoder: one frame in, one packet out, with no delay of its own beyond the 6.5 ms Opus looks ahead."""

    def __init__(self) -> None:
        self._codec = _codec()
        self._encoded_samples = 0

    def encode(self, samples: Samples) -> bytes:
        """Turn exactly `FRAME_SAMPLES` into one packet."""
        if len(samples) != FRAME_SAMPLES:
            raise ValueError(f"expected {FRAME_SAMPLES} samples, got {len(samples)}")
        (packet,) = self._codec.encode(self._frame(samples))
        return bytes(packet)

    def _frame(self, samples: Samples) -> av.AudioFrame:
        mono = np.nan_to_num(samples.astype(np.float32, copy=False)).clip(-1.0, 1.0).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(mono, format="flt", layout="mono")
        frame.sample_rate = REPLY_SAMPLE_RATE
        frame.pts = self._encoded_samples
        self._encoded_samples += FRAME_SAMPLES
        return frame


class VoiceEncoder:
    """An encoder for speech with much silence in between, which costs next to nothing here.

    Long silence is not encoded but sent as one packet made once. The first `SETTLING_FRAMES` of a silence are
    encoded all the same: then the next word begins from the state in which the listener's decoder is.
    """

    def __init__(self) -> None:
        self._encoder = OpusEncoder()
        self._quiet_frames = SETTLING_FRAMES

    def encode(self, samples: Samples) -> bytes:
        """Turn exactly `FRAME_SAMPLES` into one packet."""
        self._quiet_frames = 0 if samples.any() else self._quiet_frames + 1
        if self._quiet_frames > SETTLING_FRAMES:
            return silence_packet()
        return self._encoder.encode(samples)


@cache
def silence_packet() -> bytes:
    """20 ms of silence, from the middle of a long silence."""
    encoder = OpusEncoder()
    nothing = np.zeros(FRAME_SAMPLES, np.float32)
    return [encoder.encode(nothing) for _ in range(50)][-1]


def _codec() -> av.AudioCodecContext:
    codec = av.CodecContext.create("libopus", "w")
    assert isinstance(codec, av.AudioCodecContext)
    codec.format = "flt"
    codec.layout = "mono"
    codec.sample_rate = REPLY_SAMPLE_RATE
    codec.time_base = Fraction(1, REPLY_SAMPLE_RATE)
    codec.bit_rate = BIT_RATE
    codec.options = OPTIONS
    return codec
