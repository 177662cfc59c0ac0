"""A caller's packets as they come, turned into sound in order and without delay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_client.webrtc.opus_packet import ticks_in
from edge_client.webrtc.patience import Patience
from edge_client.webrtc.voice_stream import Step, Tally, VoicePacket, VoiceStream, signed
from routing.turns import SPEECH_SAMPLE_RATE

MOST_STREAMS = 4

# A sender that began again is believed when so many packets that look old came in their own order over this time.
STRAYS = 3
STRAYING_SEC = 0.1
MOST_STRAYS = 16

# All that a network held back for a while comes at once, and all of it is wanted. A sender that goes on faster than
# real time is not.
MOST_AHEAD_SEC = 10.0
FASTEST_PACE = 1.05  # seconds of sound in a second


@dataclass(frozen=True, slots=True)
class JitterStatistics:
    """What came, and what became of it, since the call began. Samples are at 16 kHz."""

    received: int  # packets, as are those up to `refused`
    late: int  # came after their place had been filled, and were dropped
    lost: int  # given up; some of them came late
    duplicates: int
    junk: int  # held nothing that could be Opus
    refused: int  # of a sender faster than real time
    resynchronisations: int
    recovered: int  # samples rebuilt from the copy in the next packet, as far as it had one
    concealed: int  # samples made up, or silent where a loss was long
    silent: int  # samples of silence for time in which the sender sent nothing
    skipped: int  # samples of the caller's time with nothing in their place
    cut: int  # samples of silence taken out again, because what they stood for came after all
    delay_sec: float  # of the last packet, beyond the fastest there was
    delay_p95_sec: float  # of the last 256 packets
    patience_sec: float  # how long a missing packet is waited for


class JitterBuffer:
    """Takes packets and says what to do, step by step. Time is passed in; nothing here waits.

    What is put in the place of missing packets, and what is done with late ones, `VoiceStream` explains. Here is
    decided whose packets count: a new SSRC takes over at once; one that was replaced, or a sender whose numbers went
    back, after 0.1 s in which nothing else came.
    """

    def __init__(self) -> None:
        self._patience = Patience()
        self._tally = Tally()
        self._streams: dict[int, VoiceStream] = {}
        self._current: VoiceStream | None = None
        self._strays: list[VoicePacket] = []
        self._credit_sec = MOST_AHEAD_SEC
        self._credited_at: float | None = None

    def feed(self, packet: VoicePacket) -> Sequence[Step]:
        """Take a packet; returns what can be heard now."""
        self._tally.received += 1
        if not self._has_credit(packet.arrived_at):
            self._tally.refused += 1
            return ()
        if not ticks_in(packet.payload):
            self._tally.junk += 1
            return ()
        return self._spend(self._take(packet))

    def tick(self, now: float) -> Sequence[Step]:
        """What can be heard at the `deadline`, although nothing came."""
        return () if self._current is None else self._spend(self._current.tick(now))

    @property
    def deadline(self) -> float | None:
        """When to call `tick`; None: only the next packet brings anything."""
        return None if self._current is None else self._current.deadline

    @property
    def surplus(self) -> int:
        """So many samples more were handed on than the caller's clock has counted."""
        return self._tally.surplus

    def cut(self, samples: int) -> None:
        """So many samples of what a step gave were quiet and are not handed on."""
        self._tally.surplus -= samples
        self._tally.cut += samples

    # -- whose packets count -------------------------------------------------------------------------------------------

    def _take(self, packet: VoicePacket) -> Sequence[Step]:
        stream = self._streams.get(packet.ssrc)
        if stream is None:
            return self._take_over([packet])
        steps = stream.feed(packet) if stream is self._current else None
        if steps is None:
            return self._take_stray(packet)
        if self._strays:
            self._strays.clear()
        return steps

    def _take_stray(self, packet: VoicePacket) -> Sequence[Step]:
        self._tally.late += 1
        strays = self._strays
        if strays and not _follows(packet, strays[-1]):
            strays.clear()
        strays.append(packet)
        if len(strays) > MOST_STRAYS:
            del strays[1]  # the first tells since when
        if len(strays) < STRAYS or packet.arrived_at - strays[0].arrived_at < STRAYING_SEC:
            return ()
        self._tally.late -= len(strays)
        return self._take_over(strays.copy())

    def _take_over(self, packets: Sequence[VoicePacket]) -> Sequence[Step]:
        """From here on the sender of these is heard."""
        first, now = packets[0], packets[-1].arrived_at
        steps: list[Step] = []
        if self._current is not None:
            steps += self._current.flush(now)
            self._current.bridge_pause(first.arrived_at, steps)
            self._tally.resynchronisations += 1
        stream = VoiceStream(first, patience=self._patience, tally=self._tally)
        self._current = stream
        self._remember(first.ssrc, stream)
        self._strays.clear()
        for packet in packets:
            steps += stream.feed(packet) or ()
        return steps

    def _remember(self, ssrc: int, stream: VoiceStream) -> None:
        self._streams.pop(ssrc, None)
        self._streams[ssrc] = stream
        if len(self._streams) > MOST_STREAMS:
            del self._streams[next(iter(self._streams))]

    # -- senders faster than real time ---------------------------------------------------------------------------------

    def _has_credit(self, now: float) -> bool:
        if self._credited_at is not None:
            earned = (now - self._credited_at) * FASTEST_PACE
            self._credit_sec = min(self._credit_sec + earned, MOST_AHEAD_SEC)
        self._credited_at = now
        return self._credit_sec > 0

    def _spend(self, steps: Sequence[Step]) -> Sequence[Step]:
        for step in steps:
            self._credit_sec -= step.samples / SPEECH_SAMPLE_RATE
        return steps

    # -- figures -------------------------------------------------------------------------------------------------------

    def statistics(self) -> JitterStatistics:
        tally = self._tally
        delays = sorted(tally.delays)
        return JitterStatistics(
            received=tally.received,
            late=tally.late,
            lost=tally.lost,
            duplicates=tally.duplicates,
            junk=tally.junk,
            refused=tally.refused,
            resynchronisations=tally.resynchronisations,
            recovered=tally.recovered,
            concealed=tally.concealed,
            silent=tally.silent,
            skipped=tally.skipped,
            cut=tally.cut,
            delay_sec=tally.delays[-1] if delays else 0.0,
            delay_p95_sec=delays[int(len(delays) * 0.95)] if delays else 0.0,
            patience_sec=self._patience.wait_sec(),
        )


def _follows(packet: VoicePacket, before: VoicePacket) -> bool:
    return packet.ssrc == before.ssrc and 0 < signed(packet.sequence_number - before.sequence_number, 16) < MOST_STRAYS
