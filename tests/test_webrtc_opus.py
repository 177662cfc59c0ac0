"""The reply's voice as Opus, decoded again by FFmpeg's own decoder; and encoded once for all who hear the same."""

from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.audio import Resampler, pcm16_to_float
from edge_client.webrtc.libopus import OpusDecoder, OpusEncoder
from edge_client.webrtc.opus import (
    BIT_RATE,
    CHECKPOINT_FRAMES,
    COMPLEXITY,
    ENTRY_BYTES,
    FRAME_SAMPLES,
    LEAST_LOSS_PERCENT,
    REFRESH_FRAMES,
    SETTLING_FRAMES,
    Encoded,
    PacketStore,
    VoiceEncoder,
    silence_packet,
    wants_dtx,
)
from routing.turns import REPLY_SAMPLE_RATE, Samples
from tests.peers import chirp, find

NOTHING = np.zeros(FRAME_SAMPLES, np.float32)


def lonely() -> VoiceEncoder:
    """An encoder that shares with nobody."""
    return VoiceEncoder(packets=PacketStore())


def encoded(samples: Samples, encoder: VoiceEncoder | None = None) -> list[bytes]:
    encoder = encoder or lonely()
    packets = [encoder.encode(frame) for frame in samples.reshape(-1, FRAME_SAMPLES)]
    return [packet for packet in packets if packet is not None]


def decoded(packets: list[bytes]) -> Samples:
    """At 24 kHz."""
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    resampler = Resampler(48_000, REPLY_SAMPLE_RATE)
    frames = [frame for packet in packets for frame in decoder.decode(av.Packet(packet))]
    blocks = [frame.to_ndarray().reshape(frame.samples, -1)[:, 0] for frame in frames]
    return np.concatenate([resampler.feed(pcm16_to_float(block.astype("<i2").tobytes())) for block in blocks])


def voice(seconds: float, *, seed: int = 1) -> Samples:
    """Sound as uneven as speech, so that no two frames are alike; another ``seed`` is another voice."""
    rng = np.random.default_rng(seed)
    times = np.arange(int(seconds * REPLY_SAMPLE_RATE)) / REPLY_SAMPLE_RATE
    pitch = 2 * np.pi * np.cumsum(110 + 40 * np.sin(2 * np.pi * rng.uniform(0.5, 1.5) * times)) / REPLY_SAMPLE_RATE
    harmonics = sum(np.sin(count * pitch) / count for count in range(1, 12))
    loudness = np.clip(np.sin(2 * np.pi * 3 * times), 0.05, 1.0)
    return (0.15 * harmonics * loudness + 0.002 * rng.standard_normal(len(times))).astype(np.float32)


# -- sound -----------------------------------------------------------------------------------------------------------


def test_every_frame_becomes_one_packet_of_20_ms_that_sounds_like_it() -> None:
    sound = chirp(1.0, REPLY_SAMPLE_RATE)

    packets = encoded(sound)

    found = find(sound, decoded(packets))
    assert len(packets) == 50
    assert found.likeness > 0.97
    assert found.start <= 0.0066 * REPLY_SAMPLE_RATE  # Opus looks ahead by 6.5 ms
    assert sum(map(len, packets)) * 8 == pytest.approx(32_000, rel=0.15)


def test_long_silence_is_one_packet_that_decodes_to_nothing() -> None:
    packets = encoded(np.zeros(FRAME_SAMPLES * 100, np.float32))

    assert set(packets) == {silence_packet()}
    assert len(silence_packet()) < 25
    assert np.abs(decoded(packets)).max() <= 2 / 32768


def test_silence_after_speech_is_encoded_until_the_speech_is_forgotten() -> None:
    encoder = lonely()
    encoded(chirp(0.2, REPLY_SAMPLE_RATE), encoder)

    packets = encoded(np.zeros(FRAME_SAMPLES * 10, np.float32), encoder)

    assert silence_packet() not in packets[:SETTLING_FRAMES]
    assert set(packets[SETTLING_FRAMES:]) == {silence_packet()}


def test_speech_after_the_silence_packet_begins_as_well_as_after_real_silence() -> None:
    word, pause = chirp(0.2, REPLY_SAMPLE_RATE), np.zeros(FRAME_SAMPLES * 40, np.float32)
    plain = OpusEncoder(REPLY_SAMPLE_RATE, bit_rate=BIT_RATE, complexity=COMPLEXITY)
    sound = np.concatenate((word, pause, word))

    whole = decoded([plain.encode(frame) for frame in sound.reshape(-1, FRAME_SAMPLES)])
    spared = decoded(encoded(sound))

    onset = slice(len(word) + len(pause), len(word) + len(pause) + 3 * FRAME_SAMPLES)
    part = np.concatenate((np.zeros(156, np.float32), word))[: 3 * FRAME_SAMPLES]  # 6.5 ms later
    assert error(spared[onset], part) < error(whole[onset], part) + 0.05


@pytest.mark.parametrize("silent_frames", [0, 1, 2, 40])
def test_speech_begins_from_the_state_in_which_the_listener_s_decoder_is(silent_frames: int) -> None:
    """Else all of a sentence may be heard less well, and not its beginning only."""
    sound, silence = chirp(1.0, REPLY_SAMPLE_RATE), np.zeros(silent_frames * FRAME_SAMPLES, np.float32)
    assert find(sound, decoded(encoded(np.concatenate((silence, sound))))).likeness > 0.97


def error(result: Samples, expected: Samples) -> float:
    return float(np.linalg.norm(result - expected) / np.linalg.norm(expected))


def test_what_is_no_number_or_too_loud_does_not_break_the_encoder() -> None:
    encoder = lonely()
    bad = np.concatenate([np.full(FRAME_SAMPLES, value, np.float32) for value in (np.nan, np.inf, 1e30, -5.0)])
    word = chirp(0.4, REPLY_SAMPLE_RATE)

    heard = decoded(encoded(np.concatenate((bad, np.tile(NOTHING, 10), word)), encoder))

    assert np.isfinite(heard).all()
    assert find(word, heard).likeness > 0.9


def test_another_number_of_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 480 samples, got 481"):
        lonely().encode(np.ones(FRAME_SAMPLES + 1, np.float32))


# -- loss ------------------------------------------------------------------------------------------------------------


def test_the_more_loss_is_expected_the_better_a_lost_packet_is_rebuilt() -> None:
    sound = voice(2.0).reshape(-1, FRAME_SAMPLES)

    few, many = (spectral_error(sound[1:-1:3], rebuilt(sound, expected)) for expected in (0.05, 0.3))

    assert many < 0.95 * few


def rebuilt(frames: Samples, expected_loss: float) -> Samples:
    """What a listener hears in the place of every third frame, who lost its packet."""
    encoder, decoder = lonely(), OpusDecoder(REPLY_SAMPLE_RATE)
    encoder.expect_loss(expected_loss)
    packets = encoded(frames, encoder)
    blocks = [
        decoder.recover(packets[index + 1], FRAME_SAMPLES) if index % 3 == 1 else decoder.decode(packet)
        for index, packet in enumerate(packets[:-1])
    ]
    heard = np.concatenate((*blocks, NOTHING))[156:]  # 6.5 ms later
    return heard[: len(heard) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)[1:-1:3]


def spectral_error(frames: Samples, heard: Samples) -> float:
    """How far apart the loudness of the frequencies is, in dB."""
    before, after = (np.abs(np.fft.rfft(part * np.hanning(FRAME_SAMPLES))) for part in (frames, heard))
    return float(np.abs(20 * np.log10((before + 0.05) / (after + 0.05))).mean())


def test_the_expected_loss_goes_in_steps_between_bounds() -> None:
    encoders = [lonely() for _ in range(4)]
    for encoder, fraction in zip(encoders, (0.0, 0.01, 0.3, 1.0), strict=True):
        encoder.expect_loss(fraction)
    none, hardly, much, all_of_it = (encoded(voice(0.5), encoder) for encoder in encoders)
    assert none == hardly != much == all_of_it


# -- sharing ---------------------------------------------------------------------------------------------------------


def test_what_one_caller_was_sent_is_not_encoded_again_for_the_next() -> None:
    packets, sound = PacketStore(), voice(1.0)

    first, second = (encoded(sound, VoiceEncoder(packets=packets)) for _ in range(2))

    assert first == second == encoded(sound)
    assert (packets.statistics().encoded, packets.statistics().found) == (50, 50)


@pytest.mark.slow
@pytest.mark.timeout(60)
@settings(max_examples=30)
@given(shared=st.integers(0, 3 * CHECKPOINT_FRAMES), limit=st.sampled_from([0, 20_000, 10_000_000]))
def test_whoever_goes_another_way_gets_what_an_encoder_of_his_own_would_make(shared: int, limit: int) -> None:
    """However much was shared, and however little room there was to share it in."""
    packets, own = PacketStore(limit_bytes=limit), voice(0.6, seed=2)
    opening = voice(1.0)[: shared * FRAME_SAMPLES]
    encoded(voice(1.0), VoiceEncoder(packets=packets))

    story = np.concatenate((opening, own, np.tile(NOTHING, SETTLING_FRAMES + 2), own))

    assert encoded(story, VoiceEncoder(packets=packets)) == encoded(story)


def test_callers_on_links_of_different_kinds_share_nothing() -> None:
    packets, sound = PacketStore(), voice(0.4)
    lossy = VoiceEncoder(packets=packets)
    lossy.expect_loss(0.2)

    assert encoded(sound, VoiceEncoder(packets=packets)) != encoded(sound, lossy)
    assert packets.statistics().found == 0


def test_callers_are_in_step_again_after_a_long_silence() -> None:
    packets = PacketStore()
    one, other = VoiceEncoder(packets=packets), VoiceEncoder(packets=packets)
    encoded(voice(0.4, seed=2), one)
    encoded(voice(0.4, seed=3), other)
    for encoder in (one, other):
        encoded(np.tile(NOTHING, SETTLING_FRAMES + 1), encoder)

    before = packets.statistics().encoded
    assert encoded(voice(0.4), one) == encoded(voice(0.4), other)
    assert packets.statistics().encoded == before + 20


def test_the_store_keeps_what_was_used_last_within_its_bound() -> None:
    entry = Encoded(b"x" * 100, None)
    packets = PacketStore(limit_bytes=3 * (ENTRY_BYTES + 100))
    for name in (b"a", b"b", b"c"):
        packets.keep(name, entry)
    assert packets.find(b"a")

    packets.keep(b"d", entry)

    assert [packets.find(name) is not None for name in (b"a", b"b", b"c", b"d")] == [True, False, True, True]
    assert packets.statistics().size == 3 * (ENTRY_BYTES + 100)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_minute_of_speech_leaves_a_few_megabytes_behind() -> None:
    packets = PacketStore()
    encoded(voice(60.0), VoiceEncoder(packets=packets))
    assert packets.statistics().size <= 4 * 1024 * 1024


# -- discontinuous transmission --------------------------------------------------------------------------------------


def test_with_dtx_long_silence_is_one_packet_in_400_ms() -> None:
    encoder = VoiceEncoder(packets=PacketStore(), dtx=True)
    word = voice(0.2).reshape(-1, FRAME_SAMPLES)

    packets = [encoder.encode(frame) for frame in [*word, *[NOTHING] * 65, *word]]

    sent = [index for index, packet in enumerate(packets) if packet is not None]
    settled = 10 + SETTLING_FRAMES
    assert sent == [*range(settled + 1), *range(settled + 1, 75, REFRESH_FRAMES), *range(75, 85)]
    assert packets[settled : settled + 2] == [silence_packet(), silence_packet()[:1]]


def test_what_is_sent_in_silence_with_dtx_is_silent() -> None:
    decoder = OpusDecoder(REPLY_SAMPLE_RATE)
    packets = encoded(np.tile(NOTHING, 100), VoiceEncoder(packets=PacketStore(), dtx=True))
    assert len(packets) == 6
    assert [np.abs(decoder.decode(packet)).max() <= 2 / 32768 for packet in packets] == [True] * 6


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;usedtx=1;useinbandfec=1", True),
        ("a=fmtp:96 useinbandfec=1; usedtx=1\r\na=rtpmap:96 OPUS/48000/2", True),
        ("a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1", False),
        ("a=rtpmap:111 opus/48000/2\r\na=fmtp:111 usedtx=0", False),
        ("a=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 usedtx=1", False),
        ("a=rtpmap:111 opus/48000/2", False),
        ("", False),
    ],
)
def test_dtx_is_for_those_who_ask_for_it(lines: str, wanted: bool) -> None:
    assert wants_dtx(lines) is wanted


def test_the_least_expected_loss_makes_the_silence_packet() -> None:
    """Else the reply would not begin from the state that made what the listener hears."""
    plain = OpusEncoder(
        REPLY_SAMPLE_RATE, bit_rate=BIT_RATE, complexity=COMPLEXITY, packet_loss_percent=LEAST_LOSS_PERCENT
    )
    assert silence_packet() == [plain.encode(NOTHING) for _ in range(50)][-1]
