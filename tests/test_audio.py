"""Sound conversions: place in time, round trips, agreement with FFmpeg's own codecs, clear refusals."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client import audio
from edge_client.audio import Resampler
from routing.errors import InvalidRequest
from routing.turns import Samples


def sine(frequency: float, sample_rate: int, seconds: float) -> Samples:
    times = np.arange(int(seconds * sample_rate)) / sample_rate
    return (0.5 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


def feed_in_blocks(resampler: Resampler, samples: Samples, block: int) -> list[Samples]:
    return [resampler.feed(samples[start : start + block]) for start in range(0, len(samples), block)]


@pytest.mark.parametrize(
    ("from_rate", "to_rate"),
    [
        (48_000, 16_000),
        (24_000, 16_000),
        (16_000, 24_000),
        (8_000, 16_000),
        (24_000, 8_000),
        (44_100, 16_000),
    ],
)
def test_a_resampled_sine_keeps_its_place_and_its_shape(from_rate: int, to_rate: int) -> None:
    resampler = Resampler(from_rate, to_rate)

    blocks = feed_in_blocks(resampler, sine(440, from_rate, 1.0), from_rate // 50)
    result = np.concatenate([*blocks, resampler.flush()])

    expected = sine(440, to_rate, 1.0)
    assert len(result) == len(expected)
    inner = slice(to_rate // 50, -to_rate // 50)
    np.testing.assert_allclose(result[inner], expected[inner], atol=1e-4)


def test_a_resampler_holds_back_one_millisecond_at_16_khz() -> None:
    resampler = Resampler(48_000, 16_000)

    blocks = feed_in_blocks(resampler, sine(440, 48_000, 0.1), 960)

    assert sum(map(len, blocks)) == 1600 - 16
    assert len(resampler.flush()) == 16


@given(st.lists(st.integers(0, 400), max_size=30))
def test_block_sizes_do_not_change_what_comes_out(sizes: list[int]) -> None:
    samples = np.random.default_rng(7).uniform(-0.5, 0.5, sum(sizes)).astype(np.float32)
    in_blocks, at_once = Resampler(24_000, 16_000), Resampler(24_000, 16_000)
    starts = np.cumsum([0, *sizes])

    blocks = [in_blocks.feed(samples[start : start + size]) for start, size in zip(starts, sizes, strict=False)]

    whole = np.concatenate((at_once.feed(samples), at_once.flush()))
    np.testing.assert_allclose(np.concatenate([*blocks, in_blocks.flush()]), whole, atol=1e-6)


def test_after_a_flush_a_resampler_begins_a_new_stream() -> None:
    resampler = Resampler(48_000, 16_000)
    first = np.concatenate((resampler.feed(sine(440, 48_000, 0.1)), resampler.flush()))

    second = np.concatenate((resampler.feed(sine(440, 48_000, 0.1)), resampler.flush()))

    np.testing.assert_array_equal(first, second)


def test_the_same_rate_passes_through_and_nothing_gives_nothing() -> None:
    samples = sine(440, 16_000, 0.02)
    assert Resampler(16_000, 16_000).feed(samples) is samples
    assert len(Resampler(16_000, 24_000).feed(samples[:0])) == 0
    assert len(Resampler(16_000, 24_000).flush()) == 0


@pytest.mark.parametrize("rates", [(0, 16_000), (16_000, -1), (16_000, 10**9)])
def test_an_impossible_rate_is_refused(rates: tuple[int, int]) -> None:
    with pytest.raises(InvalidRequest, match="expected a sample rate from 4000 to 192000 Hz, got"):
        Resampler(*rates)


def test_every_16_bit_value_survives_the_round_trip() -> None:
    data = np.arange(-32768, 32768).astype("<i2").tobytes()
    assert audio.float_to_pcm16(audio.pcm16_to_float(data)) == data


def test_too_loud_is_clipped_and_no_number_is_silence() -> None:
    samples = np.array([2.0, -2.0, np.inf, -np.inf, np.nan, 3e38], np.float32)
    assert np.frombuffer(audio.float_to_pcm16(samples), "<i2").tolist() == [
        32767,
        -32768,
        32767,
        -32768,
        0,
        32767,
    ]


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"whole 16-bit samples, got an odd number of bytes \(3\)"):
        audio.pcm16_to_float(b"abc")


def ffmpeg_decoded(codec: str, data: bytes) -> Samples:
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate = 8000
    context.layout = "mono"
    (frame,) = context.decode(av.Packet(data))
    return audio.pcm16_to_float(frame.to_ndarray().tobytes())


@pytest.mark.parametrize(
    ("codec", "decode", "encode"),
    [
        ("pcm_mulaw", audio.mulaw_to_float, audio.float_to_mulaw),
        ("pcm_alaw", audio.alaw_to_float, audio.float_to_alaw),
    ],
)
def test_telephone_codes_agree_with_ffmpeg(codec: str, decode, encode) -> None:  # type: ignore[no-untyped-def]
    codes = bytes(range(256))
    values = decode(codes)

    np.testing.assert_array_equal(values, ffmpeg_decoded(codec, codes))
    np.testing.assert_array_equal(decode(encode(values)), values)


@pytest.mark.parametrize(
    ("decode", "encode"),
    [(audio.mulaw_to_float, audio.float_to_mulaw), (audio.alaw_to_float, audio.float_to_alaw)],
)
def test_a_telephone_code_keeps_order_and_is_never_far_off(decode, encode) -> None:  # type: ignore[no-untyped-def]
    samples = audio.pcm16_to_float(np.arange(-32768, 32768).astype("<i2").tobytes())

    result = decode(encode(samples))

    assert np.all(np.diff(result) >= 0)
    half_a_step = (np.abs(samples) + 256 / 32768) / 32  # a sign, three bits of exponent, four of mantissa
    assert np.all(np.abs(result - samples) <= half_a_step)


@pytest.mark.parametrize(("channels", "layout"), [(1, "mono"), (2, "stereo")])
def test_a_wav_file_is_read_back_at_another_rate(tmp_path: Path, channels: int, layout: str) -> None:
    path = tmp_path / "question.wav"
    tone = sine(440, 48_000, 0.5)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48_000, layout=layout)
        values = np.repeat((tone * 32767).astype(np.int16), channels).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(values, format="s16", layout=layout)
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))

    result = audio.read_audio(path, 16_000)

    assert len(result) == 8000
    np.testing.assert_allclose(result[200:-200], sine(440, 16_000, 0.5)[200:-200], atol=1e-3)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    samples = audio.pcm16_to_float(audio.float_to_pcm16(sine(300, 24_000, 0.2)))

    audio.write_wav(tmp_path / "reply.wav", samples, 24_000)

    np.testing.assert_allclose(audio.read_audio(tmp_path / "reply.wav", 24_000), samples, atol=1e-6)


def test_no_sound_is_a_clear_error(tmp_path: Path) -> None:
    text = tmp_path / "words.txt"
    text.write_text("no sound in here" * 100)
    for path in (text, tmp_path / "missing.wav", tmp_path):
        with pytest.raises(InvalidRequest, match=f"expected a sound file, got {path}"):
            audio.read_audio(path, 16_000)


def test_levels() -> None:
    assert audio.level_dbfs(sine(440, 16_000, 1.0)) == pytest.approx(-9.03, abs=0.01)
    assert audio.level_dbfs(np.zeros(320, np.float32)) == audio.SILENCE_DBFS
    assert audio.level_dbfs(np.zeros(0, np.float32)) == audio.SILENCE_DBFS
    assert audio.level_dbfs(np.full(320, 1e-9, np.float32)) == audio.SILENCE_DBFS
