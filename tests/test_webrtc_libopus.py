"""libopus called directly: what goes in comes out, also in the place of what was lost."""

from __future__ import annotations

import numpy as np
import pytest

from edge_client.webrtc import libopus
from edge_client.webrtc.libopus import OpusDecoder, OpusEncoder, OpusError
from edge_client.webrtc.opus_packet import DTX_BYTES, ticks_in
from routing.turns import REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE, Samples
from tests.peers import chirp, find

FRAME = 480  # 20 ms at 24 kHz
HEARD = 320  # the same at 16 kHz


def encoded(sound: Samples, encoder: OpusEncoder | None = None) -> list[bytes]:
    encoder = encoder or OpusEncoder(REPLY_SAMPLE_RATE, bit_rate=32_000, packet_loss_percent=20)
    return [encoder.encode(frame) for frame in np.split(sound[: len(sound) // FRAME * FRAME], len(sound) // FRAME)]


def decoded(packets: list[bytes], sample_rate: int = SPEECH_SAMPLE_RATE) -> Samples:
    decoder = OpusDecoder(sample_rate)
    return np.concatenate([decoder.decode(packet) for packet in packets])


@pytest.mark.parametrize("sample_rate", [8000, 12_000, 16_000, 24_000, 48_000])
def test_sound_comes_out_at_any_rate(sample_rate: int) -> None:
    heard = decoded(encoded(chirp(0.5, REPLY_SAMPLE_RATE)), sample_rate)
    assert len(heard) == sample_rate // 2
    found = find(chirp(0.4, sample_rate, high=2460), heard)  # all of it but what the encoder still holds
    assert found.likeness > 0.9
    assert found.start / sample_rate == pytest.approx(0.0065, abs=0.0002)


@pytest.mark.parametrize("length_ms", [2.5, 5, 10, 20, 40, 60])
def test_a_packet_says_how_much_it_holds(length_ms: float) -> None:
    encoder, decoder = OpusEncoder(48_000, bit_rate=32_000), OpusDecoder(SPEECH_SAMPLE_RATE)
    packet = encoder.encode(np.zeros(round(48 * length_ms), np.float32))
    assert ticks_in(packet) == round(48 * length_ms)
    assert decoder.samples_in(packet) == len(decoder.decode(packet)) == round(16 * length_ms)


def test_what_the_packets_say_is_what_libopus_reads_in_them() -> None:
    drawn, decoder = np.random.default_rng(3), OpusDecoder(48_000)
    for first in range(256):
        for size in (1, 2, 3, 50):
            packet = bytes([first]) + drawn.bytes(size - 1)
            try:
                expected = decoder.samples_in(packet)
            except OpusError:
                expected = 0
            assert ticks_in(packet) == expected


def test_a_packet_that_is_not_opus_leaves_the_decoder_as_it_was() -> None:
    packets = encoded(chirp(0.2, REPLY_SAMPLE_RATE))
    clean, disturbed = OpusDecoder(SPEECH_SAMPLE_RATE), OpusDecoder(SPEECH_SAMPLE_RATE)
    for packet in packets:
        with pytest.raises(OpusError, match="corrupted stream"):
            disturbed.decode(b"\x4a\xff\xff")
        np.testing.assert_array_equal(disturbed.decode(packet), clean.decode(packet))


def test_a_lost_frame_comes_back_from_the_next_packet_better_than_it_is_made_up() -> None:
    packets = encoded(chirp(0.5, REPLY_SAMPLE_RATE, low=300, high=900))
    whole = decoded(packets)[12 * HEARD : 13 * HEARD]
    recovering, concealing = OpusDecoder(SPEECH_SAMPLE_RATE), OpusDecoder(SPEECH_SAMPLE_RATE)
    for packet in packets[:12]:
        recovering.decode(packet)
        concealing.decode(packet)
    recovered, concealed = recovering.recover(packets[13], HEARD), concealing.conceal(HEARD)
    assert len(recovered) == len(concealed) == HEARD
    assert np.linalg.norm(recovered - whole) < 0.5 * np.linalg.norm(concealed - whole)


def test_concealment_fades() -> None:
    decoder = OpusDecoder(SPEECH_SAMPLE_RATE)
    for packet in encoded(chirp(0.5, REPLY_SAMPLE_RATE)):
        decoder.decode(packet)
    concealed = decoder.conceal(3 * HEARD), decoder.conceal(3 * HEARD), decoder.conceal(3 * HEARD)
    loudness = [float(np.abs(part).max()) for part in concealed]
    assert loudness[0] > 0.1
    assert loudness[2] < 0.5 * loudness[0]


def test_concealment_before_any_sound_is_silence() -> None:
    assert not OpusDecoder(SPEECH_SAMPLE_RATE).conceal(HEARD).any()


def test_what_is_given_is_the_listeners_own() -> None:
    decoder = OpusDecoder(SPEECH_SAMPLE_RATE)
    first, second = encoded(chirp(0.04, REPLY_SAMPLE_RATE))
    kept = decoder.decode(first)
    before = kept.copy()
    decoder.decode(second)
    np.testing.assert_array_equal(kept, before)


def test_a_frame_of_another_length_cannot_be_encoded() -> None:
    encoder = OpusEncoder(REPLY_SAMPLE_RATE, bit_rate=32_000)
    with pytest.raises(OpusError, match="invalid argument"):
        encoder.encode(np.zeros(FRAME + 1, np.float32))


def test_an_encoder_goes_on_from_the_state_of_another() -> None:
    sound = chirp(0.4, REPLY_SAMPLE_RATE)
    one, other = (OpusEncoder(REPLY_SAMPLE_RATE, bit_rate=32_000) for _ in range(2))
    encoded(sound[: 10 * FRAME], one)
    other.state = one.state
    assert encoded(sound[10 * FRAME :], other) == encoded(sound[10 * FRAME :], one)


def test_copies_for_lost_packets_are_made_as_long_as_loss_is_expected() -> None:
    sound, encoder = chirp(1.0, REPLY_SAMPLE_RATE), OpusEncoder(REPLY_SAMPLE_RATE, bit_rate=24_000)
    encoder.expect_loss(0)
    without = encoded(sound, encoder)
    encoder.expect_loss(25)
    with_copies = encoded(sound, encoder)
    assert difference_when_lost(without) > difference_when_lost(with_copies)


def difference_when_lost(packets: list[bytes]) -> float:
    """How far off every other frame is when it is rebuilt from the packet after it."""
    whole, decoder, apart = decoded(packets), OpusDecoder(SPEECH_SAMPLE_RATE), 0.0
    for lost in range(1, len(packets) - 1, 2):
        decoder.decode(packets[lost - 1])
        rebuilt = decoder.recover(packets[lost + 1], HEARD)
        apart += float(np.linalg.norm(rebuilt - whole[lost * HEARD : (lost + 1) * HEARD]))
    return apart


def test_silence_needs_next_to_no_bytes_where_it_need_not_be_sent() -> None:
    encoder = OpusEncoder(REPLY_SAMPLE_RATE, bit_rate=32_000, dtx=True)
    packets = encoded(np.zeros(50 * FRAME, np.float32), encoder)
    assert sum(len(packet) <= DTX_BYTES for packet in packets) > 20


def test_a_machine_without_libopus_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libopus, "_candidates", lambda: iter(["libnothing.so"]))
    with pytest.raises(OSError, match="found none"):
        libopus._load()
