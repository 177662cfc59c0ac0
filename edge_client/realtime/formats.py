"""Sound inside events: 24 kHz PCM, or 8 kHz G.711 in both flavours, from and to the samples a session uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from edge_client import audio
from edge_client.audio import Resampler
from edge_client.realtime.session_config import G711Format, PcmFormat
from routing.turns import REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE, Samples


class _Coding(NamedTuple):
    sample_rate: int
    decode: Callable[[bytes], Samples]
    encode: Callable[[Samples], bytes]


CODINGS = {
    "audio/pcm": _Coding(24_000, audio.pcm16_to_float, audio.float_to_pcm16),
    "audio/pcmu": _Coding(8_000, audio.mulaw_to_float, audio.float_to_mulaw),
    "audio/pcma": _Coding(8_000, audio.alaw_to_float, audio.float_to_alaw),
}


class IncomingSound:
    """One client's microphone: bytes of its format in, mono samples at 16 kHz out."""

    def __init__(self, format_: PcmFormat | G711Format) -> None:
        self.format = format_
        self._coding = CODINGS[format_.type]
        self._resampler = Resampler(self._coding.sample_rate, SPEECH_SAMPLE_RATE)

    def read(self, sound: bytes) -> Samples:
        """Raises InvalidRequest where the bytes are not whole samples."""
        return self._resampler.feed(self._coding.decode(sound))


class OutgoingSound:
    """One client's loudspeaker: mono samples at 24 kHz in, bytes of its format out."""

    def __init__(self, format_: PcmFormat | G711Format) -> None:
        self.format = format_
        self._coding = CODINGS[format_.type]
        self._resampler = Resampler(REPLY_SAMPLE_RATE, self._coding.sample_rate)

    def write(self, samples: Samples) -> bytes:
        return self._coding.encode(self._resampler.feed(samples))

    def finish(self) -> bytes:
        """What is left of a reply that has ended."""
        return self._coding.encode(self._resampler.flush())
