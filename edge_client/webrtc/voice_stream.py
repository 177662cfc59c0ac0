"""One sender's packets put in order, and what is to be heard in the place of those that are missing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_client.webrtc.opus_packet import DTX_BYTES, RTP_RATE, ticks_in
from edge_client.webrtc.patience import Patience
from edge_client.webrtc.transit_clock import TransitClock
from routing.turns import SPEECH_SAMPLE_RATE

TICKS_PER_SAMPLE = RTP_RATE // SPEECH_SAMPLE_RATE  # 3
SHORTEST_TICKS = 120  # Opus conceals in multiples of 2.5 ms

LONGEST_GAP_SEC = 2.0  # of silence in the place of what never came

# How much more sound than time may be missing: after a pause of the network several packets come at once. Anything
# beyond is a caller who began to count anew, and not loss.
GAP_TOLERANCE_SEC = 0.5

# A network that only becomes slower looks like a pause as well.
PAUSE_SEC = 0.2

LONGEST_CONCEALED_TICKS = round(0.060 * RTP_RATE)  # concealment fades; after this it is silence anyway
LONGEST_OVERLAP_TICKS = round(0.020 * RTP_RATE)  # timestamps that step back so little are only inexact
MOST_HELD = 32  # packets; at 2.5 ms each they are more than the longest wait
MOST_REMEMBERED = 128  # packets that came, and packets that did not
DTX_MARGIN_SEC = 0.020  # silence is put out this much later than the next packet may well come


class VoicePacket(NamedTuple):
    """What an RTP packet says, and when it came."""

    sequence_number: int  # 16 bits
    timestamp: int  # 32 bits, at `RTP_RATE`
    ssrc: int
    payload: bytes
    arrived_at: float


@dataclass(frozen=True, slots=True)
class Play:
    """Decode this packet, which holds so many samples."""

    payload: bytes
    samples: int


@dataclass(frozen=True, slots=True)
class Recover:
    """Rebuild the samples right before this packet from the copy in it."""

    payload: bytes
    samples: int


@dataclass(frozen=True, slots=True)
class Conceal:
    """Go on as the last sound did."""

    samples: int


@dataclass(frozen=True, slots=True)
class Silence:
    """Hand on so much silence, past the decoder."""

    samples: int


type Step = Play | Recover | Conceal | Silence


@dataclass(slots=True)
class Tally:
    """What has happened so far, whichever sender it was. Samples are at `SPEECH_SAMPLE_RATE`."""

    received: int = 0
    late: int = 0
    lost: int = 0
    duplicates: int = 0
    junk: int = 0
    refused: int = 0
    resynchronisations: int = 0
    recovered: int = 0  # samples, as are those below
    concealed: int = 0  # with the silence that follows when a loss is long
    silent: int = 0  # as the sender was: it sent nothing for this time
    skipped: int = 0
    cut: int = 0
    surplus: int = 0  # handed on beyond the caller's clock, and to be cut from silence
    delays: deque[float] = field(default_factory=lambda: deque(maxlen=256))


class VoiceStream:
    """The packets of one SSRC.

    A packet in its turn leaves at once. Behind a hole, packets wait for the missing one as long as `Patience` says.
    Then the frame right before the next packet is rebuilt from the copy in that packet, what came earlier is concealed
    for 60 ms, and the rest is silence: delay does not grow with loss. Time is the sender's, counted in timestamps.

    What comes late is wanted as long as nothing later was heard. So speech that comes after silence was put out for it
    (see `tick`) is heard in full, and the silence is the surplus; `Tally.surplus` of it may be cut from what is quiet.
    A packet whose place was filled because a later one was heard is dropped and counted: its sound was already
    replaced, and words out of their order are worse for whoever listens than a frame that is a little coarse.
    """

    def __init__(self, first: VoicePacket, *, patience: Patience, tally: Tally) -> None:
        self._patience = patience
        self._tally = tally
        self._clock = TransitClock()
        self._clock.feed(first.timestamp / RTP_RATE, first.arrived_at)
        self._next = first.sequence_number  # counts on where 16 bits wrap around
        self._position = first.timestamp  # of the next tick to hear; counts on where 32 bits wrap around
        self._frame_ticks = ticks_in(first.payload)
        self._held: dict[int, VoicePacket] = {}
        self._give_up_at: float | None = None  # on the hole in front of those held
        self._missed: dict[int, float] = {}  # those given up, and when a later one had come
        self._played: deque[tuple[int, int]] = deque(maxlen=MOST_REMEMBERED)
        self._in_dtx = False
        self._ahead = 0  # ticks of silence put out since the last packet

    def feed(self, packet: VoicePacket) -> list[Step] | None:
        """Take a packet that holds sound. None: it belongs to the past, and is none that was missing."""
        offset = signed(packet.sequence_number - self._next, 16)
        if offset < 0:
            return self._take_late(packet, self._next + offset)
        self._patience.arrived(packet.arrived_at)
        steps: list[Step] = []
        if offset == 0 and not self._held:
            self._play(packet, packet.arrived_at, steps)
        elif self._next + offset in self._held:
            self._tally.duplicates += 1
        else:
            self._hold(packet, self._next + offset, steps)
        return steps

    def tick(self, now: float) -> list[Step]:
        """What is due although nothing came: a hole is given up, or silence goes on that the sender does not send."""
        steps: list[Step] = []
        if self._held:
            self._release(now, steps)
        elif self._in_dtx:
            self._go_on_in_silence(now, steps)
        return steps

    def flush(self, now: float) -> list[Step]:
        """Everything that is held, without waiting any longer."""
        steps: list[Step] = []
        while self._held:
            self._give_up_at = now
            self._release(now, steps)
        return steps

    @property
    def deadline(self) -> float | None:
        """When to call `tick`, should nothing come before."""
        if self._held:
            return self._give_up_at
        if self._in_dtx and self._ahead < LONGEST_GAP_SEC * RTP_RATE:
            return self._silence_due_at
        return None

    def behind_sec(self, now: float) -> float:
        """How long ago the sound should have come that would be heard next."""
        return now - self._clock.expected_at(self._position / RTP_RATE)

    # -- packets that do not come in their turn ------------------------------------------------------------------------

    def _take_late(self, packet: VoicePacket, number: int) -> list[Step] | None:
        missed_at = self._missed.pop(number, None)
        if missed_at is not None:
            self._tally.late += 1
            self._patience.arrived(packet.arrived_at)
            self._patience.came_late(packet.arrived_at - missed_at, packet.arrived_at)
            return []
        if (packet.sequence_number, packet.timestamp) in self._played:
            self._tally.duplicates += 1
            return []
        return None

    def _hold(self, packet: VoicePacket, number: int, steps: list[Step]) -> None:
        if self._held and number < max(self._held):
            first_later = min(held.arrived_at for place, held in self._held.items() if place > number)
            self._patience.came_late(packet.arrived_at - first_later, packet.arrived_at)
        self._held[number] = packet
        if len(self._held) > MOST_HELD:
            self._give_up_at = packet.arrived_at
        self._release(packet.arrived_at, steps)

    def _release(self, now: float, steps: list[Step]) -> None:
        while self._held:
            packet = self._held.pop(self._next, None)
            if packet is not None:
                self._play(packet, now, steps)
                continue
            first = min(self._held)
            if now < self._end_of_patience(self._held[first], now):
                return
            self._bridge(first, now, steps)

    def _end_of_patience(self, after_hole: VoicePacket, now: float) -> float:
        if self._give_up_at is None:
            gap = self._start(after_hole) - self._position
            if 0 < gap <= self._longest_gap_ticks(now):
                found_at = min(packet.arrived_at for packet in self._held.values())
                self._give_up_at = found_at + self._patience.wait_sec()
            else:  # no sound is missing, or too much for waiting
                self._give_up_at = now
        return self._give_up_at

    # -- filling a hole ------------------------------------------------------------------------------------------------

    def _bridge(self, first: int, now: float, steps: list[Step]) -> None:
        """Put something in the place of all packets before ``first``, which is held."""
        packet = self._held[first]
        gap = self._start(packet) - self._position
        if gap > 0:
            self._miss(first)
        if 0 < gap <= self._longest_gap_ticks(now):
            self._fill(gap, packet, steps)
        self._next = first

    def _miss(self, first: int) -> None:
        self._tally.lost += first - self._next
        found_at = min(packet.arrived_at for packet in self._held.values())
        for number in range(max(self._next, first - MOST_REMEMBERED), first):
            self._missed[number] = found_at
        while len(self._missed) > MOST_REMEMBERED:
            del self._missed[next(iter(self._missed))]

    def _fill(self, gap: int, packet: VoicePacket, steps: list[Step]) -> None:
        recovered = min(self._frame_ticks, gap) // SHORTEST_TICKS * SHORTEST_TICKS
        left = gap - recovered
        longest = 0 if self._in_dtx else max(self._frame_ticks, LONGEST_CONCEALED_TICKS)
        concealed = min(left, longest) // SHORTEST_TICKS * SHORTEST_TICKS
        if concealed:
            steps.append(Conceal(_samples(concealed)))
        self._tally.concealed += _samples(concealed) + self._be_silent(left - concealed, steps)
        if recovered:
            steps.append(Recover(packet.payload, _samples(recovered)))
            self._tally.recovered += _samples(recovered)
        self._position += gap

    def _be_silent(self, ticks: int, steps: list[Step]) -> int:
        """Silence, less what was put out too much before. Returns how many samples."""
        cut = min(self._tally.surplus, _samples(ticks))
        self._tally.surplus -= cut
        self._tally.cut += cut
        samples = _samples(ticks) - cut
        if samples:
            steps.append(Silence(samples))
        return samples

    # -- a packet in its turn ------------------------------------------------------------------------------------------

    def _play(self, packet: VoicePacket, now: float, steps: list[Step]) -> None:
        ticks = ticks_in(packet.payload)
        start = self._start(packet)
        if start != self._position:
            self._cross(start, packet, now, steps)
        self._clock.feed(start / RTP_RATE, packet.arrived_at)
        self._tally.delays.append(now - self._clock.expected_at(start / RTP_RATE))
        steps.append(Play(packet.payload, ticks // TICKS_PER_SAMPLE))
        self._played.append((packet.sequence_number, packet.timestamp))
        self._position = start + ticks
        self._next += 1
        self._give_up_at = None
        self._frame_ticks = ticks
        self._in_dtx = len(packet.payload) <= DTX_BYTES
        self._ahead = 0

    def _start(self, packet: VoicePacket) -> int:
        return self._position + signed(packet.timestamp - self._position, 32)

    def _cross(self, start: int, packet: VoicePacket, now: float, steps: list[Step]) -> None:
        """Go from the end of what was heard to ``start``, where a packet begins."""
        gap = start - self._position
        if 0 < gap <= self._longest_gap_ticks(now):
            self._tally.silent += self._be_silent(gap, steps)
        elif -self._ahead - LONGEST_OVERLAP_TICKS <= gap < 0:
            self._tally.surplus += _samples(-gap)
        else:
            self._begin_again(packet, now, steps)

    def _begin_again(self, packet: VoicePacket, now: float, steps: list[Step]) -> None:
        """The sender counts anew, or so much is missing that it makes no difference."""
        self._tally.resynchronisations += 1
        self.bridge_pause(now, steps)
        self._clock = TransitClock()
        self._clock.feed(self._start(packet) / RTP_RATE, packet.arrived_at)

    def bridge_pause(self, now: float, steps: list[Step]) -> None:
        """Put in silence for a pause after which the timestamps tell nothing: as long as it was, up to 2 s."""
        passed = self.behind_sec(now)
        if passed < PAUSE_SEC:
            return
        ticks = round(min(passed, LONGEST_GAP_SEC) * RTP_RATE)
        self._tally.skipped += round(passed * SPEECH_SAMPLE_RATE) - _samples(ticks)
        self._tally.concealed += self._be_silent(ticks, steps)

    def _longest_gap_ticks(self, now: float) -> int:
        return round(min(max(self.behind_sec(now), 0.0) + GAP_TOLERANCE_SEC, LONGEST_GAP_SEC) * RTP_RATE)

    # -- silence that is not sent --------------------------------------------------------------------------------------

    @property
    def _silence_due_at(self) -> float:
        earliest = self._clock.expected_at(self._position / RTP_RATE)
        return earliest + self._clock.lateness(earliest) + DTX_MARGIN_SEC

    def _go_on_in_silence(self, now: float, steps: list[Step]) -> None:
        overdue = round((now - self._silence_due_at) * RTP_RATE)
        if overdue < 0:
            return
        frame = max(self._frame_ticks, round(DTX_MARGIN_SEC * RTP_RATE))
        left = round(LONGEST_GAP_SEC * RTP_RATE) - self._ahead
        ticks = min((overdue // frame + 1) * frame, left)
        if ticks > 0:
            self._tally.silent += self._be_silent(ticks, steps)
            self._position += ticks
            self._ahead += ticks


def signed(difference: int, bits: int) -> int:
    """The difference of two counters of so many bits that wrap around, taken the short way."""
    half = 1 << (bits - 1)
    return ((difference + half) & ((1 << bits) - 1)) - half


def _samples(ticks: int) -> int:
    return ticks // TICKS_PER_SAMPLE
