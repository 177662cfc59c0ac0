"""Packets in any order, with any of them missing: what is heard of them, and when."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.webrtc.jitter_buffer import (
    FASTEST_PACE,
    MOST_AHEAD_SEC,
    MOST_STRAYS,
    MOST_STREAMS,
    JitterBuffer,
)
from edge_client.webrtc.patience import LONGEST_SEC
from edge_client.webrtc.voice_stream import (
    LONGEST_GAP_SEC,
    MOST_HELD,
    MOST_REMEMBERED,
    Conceal,
    Play,
    Recover,
    Silence,
    Step,
    VoicePacket,
)

FRAME_SEC = 0.020
FRAME = 320  # samples at 16 kHz
TICKS = 960  # the same at 48 kHz
FIRST_BYTE = {2.5: 28 << 3, 5.0: 29 << 3, 10.0: 8 << 3, 20.0: 9 << 3, 40.0: 10 << 3, 60.0: 11 << 3}  # one frame each
DTX = bytes([FIRST_BYTE[20.0]])
TWO_OF_60_MS = bytes([(11 << 3) | 1])


class Sender:
    """Makes packets, and remembers what it made: `number` is the sequence number without wrap-around."""

    def __init__(self, *, sequence_number: int = 0, timestamp: int = 0, ssrc: int = 1) -> None:
        self.first = sequence_number
        self.timestamp = timestamp
        self.ssrc = ssrc

    def packet(self, index: int, at: float | None = None, *, payload: bytes | None = None) -> VoicePacket:
        """The packet of frame ``index``; in time if nothing else is said."""
        return VoicePacket(
            sequence_number=(self.first + index) % (1 << 16),
            timestamp=(self.timestamp + index * TICKS) % (1 << 32),
            ssrc=self.ssrc,
            payload=speech(index) if payload is None else payload,
            arrived_at=index * FRAME_SEC if at is None else at,
        )


def speech(index: int, length_ms: float = 20.0) -> bytes:
    """A payload that says which frame it is."""
    return bytes([FIRST_BYTE[length_ms]]) + index.to_bytes(8, "big", signed=True)


def play(index: int) -> Play:
    return Play(speech(index), FRAME)


def recover(index: int) -> Recover:
    """The frame before frame ``index``."""
    return Recover(speech(index), FRAME)


def samples(steps: Iterable[Step]) -> int:
    return sum(step.samples for step in steps)


def feed(buffer: JitterBuffer, packets: Iterable[VoicePacket]) -> list[Step]:
    return [step for packet in packets for step in buffer.feed(packet)]


def orderly(buffer: JitterBuffer, sender: Sender, *, until: int = 500) -> None:
    """Ten seconds without a fault: the buffer then knows that this network keeps the order."""
    feed(buffer, (sender.packet(index) for index in range(until)))
    assert buffer.statistics().patience_sec == 0.0


# -- in order ----------------------------------------------------------------------------------------------------------


def test_a_packet_in_its_turn_leaves_at_once() -> None:
    buffer, sender = JitterBuffer(), Sender()
    for index in range(100):
        assert buffer.feed(sender.packet(index)) == [play(index)]
        assert buffer.deadline is None


def test_numbers_and_times_wrap_around() -> None:
    buffer, sender = JitterBuffer(), Sender(sequence_number=65_530, timestamp=(1 << 32) - 5 * TICKS)
    assert feed(buffer, (sender.packet(index) for index in range(20))) == [play(index) for index in range(20)]
    assert buffer.statistics().lost == 0


@pytest.mark.parametrize("length_ms", FIRST_BYTE)
def test_the_length_of_a_frame_is_taken_from_its_packet(length_ms: float) -> None:
    buffer, count = JitterBuffer(), round(length_ms * 16)
    packets = [VoicePacket(n, n * count * 3, 1, speech(n, length_ms), n * length_ms / 1000) for n in range(5)]
    assert feed(buffer, packets) == [Play(packet.payload, count) for packet in packets]


def test_a_packet_may_hold_several_frames() -> None:
    assert JitterBuffer().feed(VoicePacket(0, 0, 1, TWO_OF_60_MS, 0.0)) == [Play(TWO_OF_60_MS, 1920)]


# -- loss --------------------------------------------------------------------------------------------------------------


def test_a_loss_shows_with_the_next_packet_which_brings_it_back() -> None:
    buffer, sender = JitterBuffer(), Sender()
    orderly(buffer, sender)
    assert buffer.feed(sender.packet(501)) == [recover(501), play(501)]
    assert buffer.feed(sender.packet(502)) == [play(502)]
    assert buffer.statistics().lost == 1
    assert buffer.statistics().recovered == FRAME


def test_a_long_loss_is_concealed_then_silent_then_recovered() -> None:
    buffer, sender = JitterBuffer(), Sender()
    orderly(buffer, sender)
    steps = buffer.feed(sender.packet(510))
    assert steps == [Conceal(3 * FRAME), Silence(6 * FRAME), recover(510), play(510)]
    assert samples(steps) == 11 * FRAME
    assert buffer.statistics().lost == 10
    assert buffer.statistics().concealed == 9 * FRAME


@pytest.mark.parametrize("length_ms", FIRST_BYTE)
def test_a_lost_frame_is_as_long_as_the_one_before(length_ms: float) -> None:
    buffer, count = JitterBuffer(), round(length_ms * 16)
    packets = [VoicePacket(n, n * count * 3, 1, speech(n, length_ms), n * length_ms / 1000) for n in range(1000)]
    buffer.feed(VoicePacket((1 << 16) - 1, (1 << 32) - TICKS, 1, speech(-1), 0.0))  # the first was of another length
    feed(buffer, packets[:998])
    assert buffer.feed(packets[999]) == [Recover(packets[999].payload, count), Play(packets[999].payload, count)]


def test_no_loss_makes_anything_later() -> None:
    buffer, sender, drawn = JitterBuffer(), Sender(), random.Random(1)
    orderly(buffer, sender)
    for index in (index for index in range(500, 3000) if drawn.random() > 0.2):
        assert buffer.feed(sender.packet(index))[-1] == play(index)
    assert buffer.statistics().delay_p95_sec == pytest.approx(0.0, abs=1e-6)


def test_a_loss_of_sound_that_was_never_sent_is_none() -> None:
    """Keys pressed on a telephone take numbers, and packets without sound do too; neither takes time."""
    buffer, sender = JitterBuffer(), Sender()
    feed(buffer, (sender.packet(index) for index in range(3)))
    after_two_others = VoicePacket(5, 3 * TICKS, 1, speech(3), 0.06)
    assert buffer.feed(after_two_others) == [play(3)]
    assert buffer.statistics().lost == 0


def test_empty_payloads_are_passed_over() -> None:
    buffer, sender = JitterBuffer(), Sender()
    buffer.feed(sender.packet(0))
    assert buffer.feed(VoicePacket(1, TICKS, 1, b"", 0.02)) == ()
    assert buffer.feed(VoicePacket(2, TICKS, 1, speech(2), 0.02)) == [play(2)]
    assert buffer.statistics().junk == 1


@pytest.mark.parametrize("junk", [b"", b"\x03", b"\x03\x00", b"\x5b\x03", bytes(9000)])
def test_what_cannot_be_opus_is_lost(junk: bytes) -> None:
    """Nothing, no count of frames, none, 180 ms in one packet, and more bytes than there can be."""
    buffer, sender = JitterBuffer(), Sender()
    orderly(buffer, sender)
    assert buffer.feed(sender.packet(500, payload=junk)) == ()
    assert buffer.feed(sender.packet(501)) == [recover(501), play(501)]


# -- order -------------------------------------------------------------------------------------------------------------


def test_at_the_beginning_a_missing_packet_is_waited_for_a_little() -> None:
    buffer, sender = JitterBuffer(), Sender()
    buffer.feed(sender.packet(0))
    assert buffer.feed(sender.packet(2, 0.040)) == []
    assert buffer.deadline == pytest.approx(0.060)
    assert buffer.feed(sender.packet(1, 0.045)) == [play(1), play(2)]
    assert buffer.deadline is None
    assert buffer.statistics().lost == 0


def test_the_wait_ends_although_nothing_comes() -> None:
    buffer, sender = JitterBuffer(), Sender()
    buffer.feed(sender.packet(0))
    buffer.feed(sender.packet(2, 0.040))
    assert buffer.tick(0.059) == []
    deadline = buffer.deadline
    assert deadline is not None
    assert buffer.tick(deadline) == [recover(2), play(2)]
    assert buffer.deadline is None


def test_each_hole_has_its_own_wait() -> None:
    buffer, sender = JitterBuffer(), Sender()
    feed(buffer, [sender.packet(0), sender.packet(2, 0.040), sender.packet(4, 0.045)])
    assert buffer.tick(0.061) == [recover(2), play(2)]
    assert buffer.deadline == pytest.approx(0.065)


def test_a_hole_behind_one_that_was_filled_is_waited_for_as_long_as_any_other() -> None:
    buffer, sender = JitterBuffer(), Sender()
    steps = feed(buffer, [sender.packet(0), sender.packet(2, 0.040), sender.packet(4, 0.055), sender.packet(1, 0.059)])
    assert steps == [play(0), play(1), play(2)]
    assert buffer.deadline == pytest.approx(0.075)


def test_patience_follows_the_network() -> None:
    buffer, sender = JitterBuffer(), Sender()
    orderly(buffer, sender)
    swapped(buffer, sender, 500, 1000, late_sec=0.030)
    assert 0.030 <= buffer.statistics().patience_sec <= 0.034
    late_before = buffer.statistics().late
    swapped(buffer, sender, 1000, 1500, late_sec=0.030)
    assert buffer.statistics().late == late_before  # all of it is heard now
    feed(buffer, (sender.packet(index) for index in range(1500, 2500)))
    assert buffer.statistics().patience_sec == 0.0


def test_what_comes_too_late_is_not_waited_for() -> None:
    buffer, sender = JitterBuffer(), Sender()
    orderly(buffer, sender)
    swapped(buffer, sender, 500, 1000, late_sec=0.080)
    assert buffer.statistics().patience_sec == 0.0
    assert buffer.statistics().late == 50


def swapped(buffer: JitterBuffer, sender: Sender, begin: int, end: int, *, late_sec: float) -> None:
    """Every tenth packet comes so long after the next one."""
    on_time = [sender.packet(index) for index in range(begin, end) if index % 10]
    late = [sender.packet(index, (index + 1) * FRAME_SEC + late_sec) for index in range(begin, end, 10)]
    run(buffer, on_time + late)


def run(buffer: JitterBuffer, packets: Sequence[VoicePacket]) -> list[Step]:
    """Feed the packets as they arrive, and look at the deadlines between them."""
    steps: list[Step] = []
    for packet in sorted(packets, key=lambda packet: packet.arrived_at):
        while buffer.deadline is not None and buffer.deadline < packet.arrived_at:
            steps += buffer.tick(buffer.deadline)
        steps += buffer.feed(packet)
    return steps


def test_a_packet_whose_place_was_filled_is_dropped() -> None:
    buffer, sender = JitterBuffer(), Sender()
    orderly(buffer, sender)
    buffer.feed(sender.packet(501))
    assert buffer.feed(sender.packet(500, 501 * FRAME_SEC + 0.001)) == []
    assert buffer.statistics().late == 1


def test_duplicates_are_dropped_whether_the_first_was_heard_or_is_held() -> None:
    buffer, sender = JitterBuffer(), Sender()
    assert feed(buffer, [sender.packet(0), sender.packet(0), sender.packet(2, 0.04)]) == [play(0)]
    assert buffer.feed(sender.packet(2, 0.041)) == []
    assert buffer.feed(sender.packet(1, 0.042)) == [play(1), play(2)]
    assert buffer.statistics().duplicates == 2


def test_packets_that_all_come_twice_are_heard_once() -> None:
    buffer, sender = JitterBuffer(), Sender()
    again = [sender.packet(index, (index + 9) * FRAME_SEC) for index in range(50)]
    assert run(buffer, [sender.packet(index) for index in range(50)] + again) == [play(index) for index in range(50)]


def test_what_is_remembered_of_the_missing_is_bounded() -> None:
    buffer, sender = JitterBuffer(), Sender()
    run(buffer, [sender.packet(index) for index in range(0, 1000, 30)])
    (stream,) = buffer._streams.values()
    assert len(stream._missed) == MOST_REMEMBERED


def test_what_is_held_is_bounded() -> None:
    buffer, sender = JitterBuffer(), Sender()
    buffer.feed(sender.packet(0))
    steps = feed(buffer, (sender.packet(index, 0.02) for index in range(2, 100)))
    assert steps[:2] == [recover(2), play(2)]
    assert steps[-1] == play(99)
    assert sum(isinstance(step, Play) for step in steps) == 98


# -- silence that is not sent ------------------------------------------------------------------------------------------


def talk_then_pause(buffer: JitterBuffer, sender: Sender) -> None:
    """Frames 0 to 499, then one that says: silence."""
    orderly(buffer, sender)
    buffer.feed(sender.packet(500, payload=DTX))


def pass_time(buffer: JitterBuffer, until: float) -> list[Step]:
    steps: list[Step] = []
    while buffer.deadline is not None and buffer.deadline <= until:
        steps += buffer.tick(buffer.deadline)
    return steps


def test_silence_that_is_not_sent_goes_on_in_real_time() -> None:
    buffer, sender = JitterBuffer(), Sender()
    talk_then_pause(buffer, sender)
    assert buffer.deadline == pytest.approx(501 * FRAME_SEC + 0.020)
    steps = pass_time(buffer, 501 * FRAME_SEC + 0.201)
    assert steps == [Silence(FRAME)] * 10
    late = buffer.tick(501 * FRAME_SEC + 0.301)
    assert samples(late) == 5 * FRAME  # what a loop that was busy has missed


def test_speech_after_silence_follows_the_callers_clock() -> None:
    buffer, sender = JitterBuffer(), Sender()
    talk_then_pause(buffer, sender)
    silence = pass_time(buffer, 521 * FRAME_SEC)
    after = buffer.feed(VoicePacket(501, 521 * TICKS, 1, speech(521), 521 * FRAME_SEC))
    assert after[-1] == play(521)
    assert samples(silence) + samples(after) == 21 * FRAME


def test_speech_that_comes_later_than_the_silence_for_it_is_heard_in_full_and_the_silence_cut() -> None:
    buffer, sender = JitterBuffer(), Sender()
    talk_then_pause(buffer, sender)
    silence = pass_time(buffer, 520 * FRAME_SEC + 0.1)
    late = [VoicePacket(index - 19, index * TICKS, 1, speech(index), 520 * FRAME_SEC + 0.1) for index in (520, 521)]
    assert feed(buffer, late) == [play(520), play(521)]
    surplus = samples(silence) - 19 * FRAME
    assert buffer.surplus == surplus == 5 * FRAME

    buffer.cut(FRAME)  # one frame of speech was quiet
    buffer.feed(VoicePacket(503, 522 * TICKS, 1, DTX, 522 * FRAME_SEC + 0.08))
    after = pass_time(buffer, 542 * FRAME_SEC)
    after += buffer.feed(VoicePacket(504, 542 * TICKS, 1, speech(542), 542 * FRAME_SEC))
    assert buffer.surplus == 0
    assert samples(after) == (20 - 4) * FRAME
    assert buffer.statistics().cut == 5 * FRAME


def test_silence_for_a_sender_that_is_gone_ends() -> None:
    buffer, sender = JitterBuffer(), Sender()
    talk_then_pause(buffer, sender)
    assert samples(pass_time(buffer, 100.0)) == LONGEST_GAP_SEC * 16_000
    assert buffer.deadline is None


def test_every_silence_may_last() -> None:
    buffer, steps = JitterBuffer(), list[Step]()
    for number, index in enumerate(range(0, 500, 50)):
        steps += buffer.feed(VoicePacket(number, index * TICKS, 1, DTX, index * FRAME_SEC))
        steps += pass_time(buffer, (index + 49) * FRAME_SEC)
    assert samples(steps) >= (9 * 50 + 45) * FRAME


def test_on_an_uneven_network_silence_waits_for_what_may_be_late() -> None:
    buffer, sender = JitterBuffer(), Sender()
    feed(buffer, (sender.packet(index, index * FRAME_SEC + 0.015 * (index % 3)) for index in range(100)))
    buffer.feed(sender.packet(100, payload=DTX))
    assert buffer.deadline == pytest.approx(101 * FRAME_SEC + 0.020 + 0.030, abs=0.002)


def test_a_loss_while_nothing_is_sent_is_not_made_up() -> None:
    buffer, sender = JitterBuffer(), Sender()
    talk_then_pause(buffer, sender)
    steps = buffer.feed(VoicePacket(502, 521 * TICKS, 1, speech(521), 521 * FRAME_SEC))
    assert steps == [Silence(19 * FRAME), recover(521), play(521)]


def test_a_loss_in_silence_is_silence() -> None:
    buffer, sender = JitterBuffer(), Sender()
    talk_then_pause(buffer, sender)
    steps = pass_time(buffer, 520 * FRAME_SEC)
    steps += buffer.feed(VoicePacket(502, 521 * TICKS, 1, speech(521), 521 * FRAME_SEC))
    assert steps[-2:] == [recover(521), play(521)]
    assert not any(isinstance(step, Conceal) for step in steps)
    assert samples(steps) == 21 * FRAME


# -- other times, other senders ----------------------------------------------------------------------------------------


def test_time_that_a_sender_skips_is_silence() -> None:
    buffer, sender = JitterBuffer(), Sender()
    orderly(buffer, sender)
    assert buffer.feed(VoicePacket(500, 530 * TICKS, 1, speech(530), 530 * FRAME_SEC)) == [
        Silence(30 * FRAME),
        play(530),
    ]
    assert buffer.statistics().silent == 30 * FRAME
    assert buffer.statistics().lost == buffer.statistics().concealed == 0


def test_after_a_long_gap_two_seconds_of_it_are_heard_and_the_rest_counted() -> None:
    buffer, sender = JitterBuffer(), Sender()
    orderly(buffer, sender)
    assert buffer.feed(sender.packet(750)) == [Silence(32_000), play(750)]
    assert buffer.statistics().skipped == 3 * 16_000
    assert buffer.statistics().resynchronisations == 1
    assert buffer.feed(sender.packet(751)) == [play(751)]


@pytest.mark.parametrize("timestamp", [1 << 31, (1 << 32) - 50 * TICKS, 700 * TICKS])
def test_a_leap_of_the_timestamps_is_bounded_by_the_time_that_has_passed(timestamp: int) -> None:
    buffer, sender = JitterBuffer(), Sender()
    orderly(buffer, sender)
    assert buffer.feed(VoicePacket(500, timestamp, 1, speech(0), 500 * FRAME_SEC)) == [play(0)]
    assert buffer.feed(VoicePacket(501, timestamp + TICKS, 1, speech(1), 501 * FRAME_SEC)) == [play(1)]
    assert buffer.statistics().resynchronisations == 1
    assert buffer.statistics().skipped == 0
    assert buffer.statistics().delay_sec == pytest.approx(0.0, abs=1e-6)


def test_a_network_that_catches_up_is_believed() -> None:
    buffer, sender = JitterBuffer(), Sender()
    orderly(buffer, sender)
    steps = feed(buffer, (sender.packet(index, 13.0) for index in range(500, 650) if not 520 <= index < 580))
    assert samples(steps) == 150 * FRAME
    assert buffer.statistics().resynchronisations == 0


def test_a_new_ssrc_takes_over_at_once() -> None:
    buffer, old, new = JitterBuffer(), Sender(), Sender(sequence_number=9000, timestamp=77, ssrc=2)
    orderly(buffer, old)
    assert buffer.feed(new.packet(0, 10.0)) == [play(0)]
    assert buffer.feed(old.packet(500, 10.001)) == ()  # a straggler
    assert buffer.feed(new.packet(1, 10.02)) == [play(1)]
    assert buffer.statistics().late == 1


def test_a_new_ssrc_lets_out_what_was_held() -> None:
    buffer, old, new = JitterBuffer(), Sender(), Sender(ssrc=2)
    feed(buffer, [old.packet(0), old.packet(2, 0.04)])
    assert buffer.feed(new.packet(0, 0.05)) == [recover(2), play(2), play(0)]


def test_a_pause_before_a_new_ssrc_is_silence() -> None:
    buffer, new = JitterBuffer(), Sender(ssrc=2)
    orderly(buffer, Sender())
    assert buffer.feed(new.packet(0, 11.0)) == [Silence(16_000), play(0)]


def test_a_new_ssrc_that_is_only_a_little_late_follows_without_silence() -> None:
    buffer, new = JitterBuffer(), Sender(ssrc=2)
    orderly(buffer, Sender())
    assert buffer.feed(new.packet(0, 10.15)) == [play(0)]


def test_of_two_senders_at_once_the_newer_is_heard() -> None:
    buffer, old, new = JitterBuffer(), Sender(), Sender(ssrc=2)
    orderly(buffer, old)
    both = [sender.packet(index, 10 + index * FRAME_SEC) for index in range(50) for sender in (new, old)]
    assert feed(buffer, both) == [play(index) for index in range(50)]
    assert buffer.statistics().late == 50


def test_packets_of_the_past_that_make_no_order_are_dropped() -> None:
    buffer, sender = JitterBuffer(), Sender(sequence_number=1000)
    orderly(buffer, sender)
    past = Sender(sequence_number=700, timestamp=5)
    assert not feed(buffer, (past.packet(-index, 10 + index * FRAME_SEC) for index in range(50)))


def test_packets_of_the_past_that_come_all_at_once_are_few_in_memory() -> None:
    buffer, sender = JitterBuffer(), Sender(sequence_number=1000)
    orderly(buffer, sender)
    past = Sender(sequence_number=64_000, timestamp=5)
    assert not feed(buffer, (past.packet(index, 10.0) for index in range(1000)))
    assert len(buffer._strays) <= MOST_STRAYS


def test_a_sender_that_begins_again_at_lower_numbers_is_heard_in_full() -> None:
    buffer, sender = JitterBuffer(), Sender(sequence_number=1000)
    orderly(buffer, sender)
    again = Sender(sequence_number=700, timestamp=123_456)
    steps = feed(buffer, (again.packet(index, 10 + index * FRAME_SEC) for index in range(10)))
    assert steps == [play(index) for index in range(10)]
    assert buffer.statistics().resynchronisations == 1
    assert buffer.statistics().late == 0


def test_an_old_ssrc_that_goes_on_alone_is_heard_again() -> None:
    buffer, old, other = JitterBuffer(), Sender(), Sender(ssrc=2)
    orderly(buffer, old)
    buffer.feed(other.packet(0, 10.0))
    steps = feed(buffer, (old.packet(index) for index in range(500, 520)))
    assert [step for step in steps if isinstance(step, Play)] == [play(index) for index in range(500, 520)]


def test_the_sender_who_was_heard_longest_ago_is_forgotten_first() -> None:
    buffer, old = JitterBuffer(), Sender()
    feed(buffer, (Sender(ssrc=ssrc).packet(0, 0.02 * ssrc) for ssrc in (1, 2, 3, 4)))
    feed(buffer, (old.packet(index, 0.1 + index * FRAME_SEC) for index in range(1, 11)))  # the first goes on
    buffer.feed(Sender(ssrc=5).packet(0, 0.32))
    assert not buffer.feed(old.packet(11, 0.33))  # known, so it does not take over


def test_no_more_than_four_senders_are_remembered() -> None:
    buffer = JitterBuffer()
    for ssrc in range(100):
        buffer.feed(Sender(ssrc=ssrc).packet(0, ssrc * 0.02))
    assert len(buffer._streams) == MOST_STREAMS


def test_a_sender_faster_than_real_time_is_refused_in_the_end() -> None:
    buffer, sender = JitterBuffer(), Sender()
    steps = feed(buffer, (sender.packet(index, index / 1000) for index in range(5000)))
    assert samples(steps) / 16_000 <= 5 * FASTEST_PACE + MOST_AHEAD_SEC + LONGEST_GAP_SEC
    assert buffer.statistics().refused > 3000
    assert buffer.feed(sender.packet(5000, 30.0))[-1] == play(5000)  # and heard when it has calmed down


def test_patience_with_a_fast_sender_is_not_saved_up() -> None:
    buffer, sender = JitterBuffer(), Sender()
    buffer.feed(sender.packet(0))
    steps = feed(buffer, (sender.packet(index, 3600 + index / 1e6) for index in range(1, 5000)))
    assert samples(steps) / 16_000 <= MOST_AHEAD_SEC + LONGEST_GAP_SEC


def test_after_too_much_at_once_silence_goes_on_all_the_same() -> None:
    buffer, sender = JitterBuffer(), Sender()
    feed(buffer, (sender.packet(index, 0.0) for index in range(499)))
    feed(buffer, [sender.packet(499, 0.0, payload=DTX)])
    assert samples(pass_time(buffer, 20.0)) == LONGEST_GAP_SEC * 16_000
    assert buffer.deadline is None


# -- an hour -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drift", [-100e-6, 100e-6])
def test_the_delay_is_right_after_an_hour_with_clocks_that_drift_apart(drift: float) -> None:
    buffer, sender, drawn = JitterBuffer(), Sender(timestamp=1 << 31), random.Random(2)
    for index in range(0, 180_000, 3):  # every third frame is enough to tell
        packet = VoicePacket(index // 3 % (1 << 16), (index * TICKS) % (1 << 32), 1, speech(index), 0.0)
        at = index * FRAME_SEC * (1 + drift) + drawn.uniform(0.0, 0.030)
        buffer.feed(packet._replace(arrived_at=at))
    assert sender.ssrc
    assert buffer.statistics().delay_p95_sec == pytest.approx(0.0285, abs=0.003)
    assert buffer.statistics().resynchronisations == 0


# -- whatever comes ----------------------------------------------------------------------------------------------------


@st.composite
def journeys(draw: st.DrawFn) -> list[VoicePacket]:
    """One sender's packets over a network that loses, delays, reorders and repeats."""
    sender = Sender(
        sequence_number=draw(st.sampled_from([0, 65_500, 32_760])),
        timestamp=draw(st.sampled_from([0, (1 << 32) - 20 * TICKS, (1 << 31) - 20 * TICKS])),
    )
    delays = st.one_of(st.just(0.0), st.floats(0.0, 0.09), st.just(None))
    packets = []
    for index, delay in enumerate(draw(st.lists(delays, min_size=1, max_size=80))):
        if delay is not None:
            packets.append(sender.packet(index, index * FRAME_SEC + delay))
            if draw(st.integers(0, 9)) == 0:
                packets.append(sender.packet(index, index * FRAME_SEC + delay + 0.015))
    return sorted(packets, key=lambda packet: packet.arrived_at)


@given(journeys())
def test_whatever_the_network_does_sound_is_in_order_continuous_and_soon(packets: list[VoicePacket]) -> None:
    buffer = JitterBuffer()
    steps = run(buffer, packets) + pass_time(buffer, 100.0)
    heard = [int.from_bytes(step.payload[1:], "big") for step in steps if isinstance(step, Play)]
    assert heard == sorted(set(heard))
    if heard:
        assert samples(steps) == (heard[-1] + 1 - heard[0]) * FRAME
    statistics = buffer.statistics()
    assert len(packets) == len(heard) + statistics.late + statistics.duplicates
    assert buffer.deadline is None


@given(journeys())
def test_nothing_is_held_longer_than_the_longest_patience(packets: list[VoicePacket]) -> None:
    buffer, waiting = JitterBuffer(), dict[bytes, float]()

    def look(steps: Iterable[Step], now: float) -> None:
        for step in steps:
            if isinstance(step, Play):
                assert now - waiting.pop(step.payload) <= LONGEST_SEC + 1e-9

    for packet in packets:
        while (deadline := buffer.deadline) is not None and deadline < packet.arrived_at:
            look(buffer.tick(deadline), deadline)
        waiting.setdefault(packet.payload, packet.arrived_at)
        look(buffer.feed(packet), packet.arrived_at)


payloads = st.one_of(
    st.sampled_from([b"", DTX, DTX + b"x", TWO_OF_60_MS, b"\x03", speech(0), speech(0, 2.5), speech(0, 60.0)]),
    st.binary(max_size=5),
)
near = st.integers(0, 40)


@st.composite
def floods(draw: st.DrawFn) -> list[VoicePacket]:
    """Anything at all, by up to six senders at once, most of it near to what came before."""
    now, packets = 0.0, []
    for _ in range(draw(st.integers(1, 60))):
        now += draw(st.sampled_from([0.0, 0.001, 0.02, 0.02, 0.1, 3.0, 1e6]))
        far = draw(st.integers(0, 9)) == 0
        number = draw(st.integers(0, (1 << 16) - 1) if far else near)
        timestamp = draw(st.integers(0, (1 << 32) - 1) if far else near.map(lambda index: index * TICKS))
        packets.append(VoicePacket(number, timestamp, draw(st.integers(0, 5)), draw(payloads), now))
    return packets


@pytest.mark.slow
@pytest.mark.timeout(60)
@given(floods())
def test_whatever_comes_is_taken_and_bounded(packets: list[VoicePacket]) -> None:
    buffer, heard, begin = JitterBuffer(), 0, packets[0].arrived_at
    for packet in packets:
        heard += samples(pass_time(buffer, packet.arrived_at))
        heard += samples(buffer.feed(packet))
        assert len(buffer._streams) <= MOST_STREAMS
        assert all(len(stream._held) <= MOST_HELD for stream in buffer._streams.values())
        assert len(buffer._strays) <= MOST_STRAYS
        assert buffer.surplus >= 0
        elapsed = packet.arrived_at - begin
        # Beyond the credit: what one packet may bring with it.
        assert heard / 16_000 <= elapsed * FASTEST_PACE + MOST_AHEAD_SEC + LONGEST_GAP_SEC + MOST_HELD * 0.12
    statistics = buffer.statistics()
    assert statistics.received == len(packets)
    assert 0.0 <= statistics.patience_sec <= LONGEST_SEC
