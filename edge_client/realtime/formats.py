"""The sound formats of the protocol: 24 kHz PCM, and 8 kHz G.711 in both flavours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from edge_client import audio
from edge_client.realtime.session_config import G711Format, PcmFormat
from routing.turns import Samples


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """How bytes on the wire and mono float32 samples become each other."""

    sample_rate: int
    decode: Callable[[bytes], Samples]
    encode: Callable[[Samples], bytes]

    @classmethod
    def of(cls, format_: PcmFormat | G711Format) -> Self:
        match format_.type:
            case "audio/pcm":
                return cls(24_000, audio.pcm16_to_float, audio.float_to_pcm16)
            case "audio/pcmu":
                return cls(8_000, audio.mulaw_to_float, audio.float_to_mulaw)
            case "audio/pcma":
                return cls(8_000, audio.alaw_to_float, audio.float_to_alaw)
