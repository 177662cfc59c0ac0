"""How sound came through the network, in packets of 20 ms."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Self

from edge_client.webrtc.receiver import ReceiverStatistics
from routing.turns import SPEECH_SAMPLE_RATE

PACKET_SEC = 0.02
PACKET_SAMPLES = round(PACKET_SEC * SPEECH_SAMPLE_RATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packets:
    """Counts; they can be added and subtracted."""

    received: int = 0
    lost: int = 0  # never came, or too late
    recovered: int = 0  # rebuilt from the copy in the next packet
    concealed: int = 0  # guessed, or left silent, in the place of lost ones

    @classmethod
    def of(cls, statistics: ReceiverStatistics) -> Self:
        """All that came over one connection."""
        jitter = statistics.jitter
        return cls(
            received=jitter.received,
            lost=jitter.lost,
            recovered=round(jitter.recovered / PACKET_SAMPLES),
            concealed=round(jitter.concealed / PACKET_SAMPLES),
        )

    def __add__(self, other: Packets) -> Packets:
        return Packets(**{name: count + asdict(other)[name] for name, count in asdict(self).items()})

    def __sub__(self, other: Packets) -> Packets:
        return Packets(**{name: count - asdict(other)[name] for name, count in asdict(self).items()})
