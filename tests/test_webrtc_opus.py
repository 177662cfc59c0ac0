"""The reply's voice as Opus, decoded again by FFmpeg's own decoder."""

from __future__ import annotations

import av
import numpy as np
import pytest

from edge_client.audio import Resampler, pcm16_to_float
from edge_client.webrtc.opus import FRAME_SAMPLES, SETTLING_FRAMES, OpusEncoder, VoiceEncoder, silence_packet
from routing.turns import REPLY_SAMPLE_RATE, Samples
from tests.peers import chirp, find

NOTHING = np.zeros(FRAME_SAMPLES, np.float32)


def encoded(samples: Samples, encoder: VoiceEncoder | None = None) -> list[bytes]:
    encoder = encoder or VoiceEncoder()
    return [encoder.encode(frame) for frame in samples.reshape(-1, FRAME_SAMPLES)]


def decoded(packets: list[bytes]) -> Samples:
    """At 24 kHz."""
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    resampler = Resampler(48_000, REPLY_SAMPLE_RATE)
    frames = [frame for packet in packets for frame in decoder.decode(av.Packet(packet))]
    blocks = [frame.to_ndarray().reshape(frame.samples, -1)[:, 0] for frame in frames]
    return np.concatenate([resampler.feed(pcm16_to_float(block.astype("<i2").tobytes())) for block in blocks])


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
    encoder = VoiceEncoder()
    encoded(chirp(0.2, REPLY_SAMPLE_RATE), encoder)

    packets = encoded(np.zeros(FRAME_SAMPLES * 10, np.float32), encoder)

    assert silence_packet() not in packets[:SETTLING_FRAMES]
    assert set(packets[SETTLING_FRAMES:]) == {silence_packet()}


def test_speech_after_the_silence_packet_begins_as_well_as_after_real_silence() -> None:
    word, pause = chirp(0.2, REPLY_SAMPLE_RATE), np.zeros(FRAME_SAMPLES * 40, np.float32)
    plain, voice = OpusEncoder(), VoiceEncoder()
    sound = np.concatenate((word, pause, word)).reshape(-1, FRAME_SAMPLES)

    whole = decoded([plain.encode(frame) for frame in sound])
    spared = decoded([voice.encode(frame) for frame in sound])

    onset = slice(len(word) + len(pause), len(word) + len(pause) + 3 * FRAME_SAMPLES)
    part = np.concatenate((np.zeros(156, np.float32), word))[: 3 * FRAME_SAMPLES]  # 6.5 ms later
    assert error(spared[onset], part) < error(whole[onset], part) + 0.05


def error(result: Samples, expected: Samples) -> float:
    return float(np.linalg.norm(result - expected) / np.linalg.norm(expected))


def test_what_is_no_number_or_too_loud_does_not_break_the_encoder() -> None:
    encoder = VoiceEncoder()
    packets = [encoder.encode(np.full(FRAME_SAMPLES, value, np.float32)) for value in (np.nan, np.inf, 1e30, -5.0)]
    assert np.isfinite(decoded(packets)).all()


def test_another_number_of_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 480 samples, got 481"):
        VoiceEncoder().encode(np.ones(FRAME_SAMPLES + 1, np.float32))
