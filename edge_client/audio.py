"""Sound at the edges of the program: other rates, other sample formats, telephone codes and files.

Inside there is one kind of sound, mono float32 in [-1, 1] (`Samples`); everything else is converted here.
"""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from routing.errors import InvalidRequest
from routing.turns import Samples

SILENCE_DBFS = -100.0  # the level of digital silence: quieter than anything a 16-bit microphone can give
PCM16_SCALE = 32768.0
LOWEST_SAMPLE_RATE = 4_000
HIGHEST_SAMPLE_RATE = 192_000

_MULAW_BIAS = 0x84
_MULAW_CLIP = 32635
_ALAW_TOGGLE = 0x55  # every other bit of an A-law byte travels inverted


# -- sample rates --------------------------------------------------------------------------------------------


class Resampler:
    """One mono stream from one sample rate to another.

    The output keeps its place in time: sample ``n`` of the input becomes sample ``n * to_rate / from_rate``.
    The last 16 samples, counted at the lower rate (1 ms at 16 kHz), wait for what follows or for `flush`.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        for rate in (from_rate, to_rate):
            _check_rate(rate)
        self._from_rate = from_rate
        self._to_rate = to_rate
        self._swresample = self._begin()

    def feed(self, samples: Samples) -> Samples:
        """Take the next samples and give back what they complete, often a few samples less."""
        if self._from_rate == self._to_rate or not len(samples):
            return samples
        return _join(self._swresample.resample(_frame(samples, self._from_rate)))

    def flush(self) -> Samples:
        """Give what is still held back. The next `feed` begins a new stream."""
        tail = _join(self._swresample.resample(None))
        self._swresample = self._begin()
        return tail

    def _begin(self) -> av.AudioResampler:
        # One thread is the caller's own; by default each resampler would start as many as there are cores.
        return av.AudioResampler(format="flt", layout="mono", rate=self._to_rate, threads=1)


def resample(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    """Convert a whole recording at once."""
    resampler = Resampler(from_rate, to_rate)
    return np.concatenate((resampler.feed(samples), resampler.flush()))


def _check_rate(rate: int) -> None:
    if not LOWEST_SAMPLE_RATE <= rate <= HIGHEST_SAMPLE_RATE:
        raise InvalidRequest(
            f"expected a sample rate from {LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE} Hz, got {rate}"
        )


def _frame(samples: Samples, sample_rate: int) -> av.AudioFrame:
    mono = np.ascontiguousarray(samples, np.float32).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(mono, format="flt", layout="mono")
    frame.sample_rate = sample_rate
    return frame


def _join(frames: list[av.AudioFrame]) -> Samples:
    if not frames:
        return np.zeros(0, np.float32)
    return np.concatenate([_mono(frame) for frame in frames])


def _mono(frame: av.AudioFrame) -> Samples:
    """The mean of the channels of a float frame, packed or planar."""
    values = frame.to_ndarray().reshape(-1)
    channels = frame.layout.nb_channels
    if channels == 1:
        return values.astype(np.float32, copy=False)
    shape = (channels, -1) if frame.format.is_planar else (-1, channels)
    mixed: Samples = values.reshape(shape).mean(axis=0 if frame.format.is_planar else 1, dtype=np.float32)
    return mixed


# -- sample formats ------------------------------------------------------------------------------------------


def pcm16_to_float(data: bytes) -> Samples:
    """Decode 16-bit little-endian PCM."""
    if len(data) % 2:
        raise InvalidRequest(f"expected whole 16-bit samples, got an odd number of bytes ({len(data)})")
    return _to_float(np.frombuffer(data, "<i2"))


def float_to_pcm16(samples: Samples) -> bytes:
    """Encode as 16-bit little-endian PCM; what is too loud is clipped, what is no number is silence."""
    return _to_int16(samples).astype("<i2", copy=False).tobytes()


def _to_float(values: NDArray[np.int16]) -> Samples:
    return values.astype(np.float32) / np.float32(PCM16_SCALE)


def _to_int16(samples: Samples) -> NDArray[np.int16]:
    scaled = np.rint(np.nan_to_num(np.clip(samples, -1.0, 1.0)) * np.float32(PCM16_SCALE))
    return np.minimum(scaled, PCM16_SCALE - 1).astype(np.int16)


def mulaw_to_float(data: bytes) -> Samples:
    """Decode G.711 µ-law."""
    return _MULAW_DECODED[np.frombuffer(data, np.uint8)]


def float_to_mulaw(samples: Samples) -> bytes:
    """Encode as G.711 µ-law."""
    return _MULAW_ENCODED[_to_int16(samples).view(np.uint16)].tobytes()


def alaw_to_float(data: bytes) -> Samples:
    """Decode G.711 A-law."""
    return _ALAW_DECODED[np.frombuffer(data, np.uint8)]


def float_to_alaw(samples: Samples) -> bytes:
    """Encode as G.711 A-law."""
    return _ALAW_ENCODED[_to_int16(samples).view(np.uint16)].tobytes()


def _mulaw_decoded() -> Samples:
    code = ~np.arange(256, dtype=np.uint8)
    exponent = (code >> 4 & 7).astype(np.int32)
    magnitude = (((code & 15).astype(np.int32) << 3) + _MULAW_BIAS << exponent) - _MULAW_BIAS
    return _to_float(np.where(code & 0x80, -magnitude, magnitude).astype(np.int16))


def _mulaw_encoded() -> NDArray[np.uint8]:
    """Indexed by the bits of an int16 sample."""
    values = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum(np.abs(values), _MULAW_CLIP) + _MULAW_BIAS
    exponent = _highest_bit(magnitude) - 7
    code = exponent << 4 | magnitude >> exponent + 3 & 15 | np.where(values < 0, 0x80, 0)
    return ~code.astype(np.uint8)


def _alaw_decoded() -> Samples:
    code = np.arange(256, dtype=np.uint8) ^ _ALAW_TOGGLE
    exponent = (code >> 4 & 7).astype(np.int32)
    step = ((code & 15).astype(np.int32) << 4) + 8
    magnitude = np.where(exponent, step + 0x100 << np.maximum(exponent - 1, 0), step)
    return _to_float(np.where(code & 0x80, magnitude, -magnitude).astype(np.int16))


def _alaw_encoded() -> NDArray[np.uint8]:
    """Indexed by the bits of an int16 sample."""
    values = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.where(values < 0, ~values, values)
    exponent = np.maximum(_highest_bit(magnitude) - 7, 0)
    mantissa = magnitude >> np.maximum(exponent, 1) + 3 & 15
    code = exponent << 4 | mantissa | np.where(values < 0, 0, 0x80)
    toggled: NDArray[np.uint8] = code.astype(np.uint8) ^ _ALAW_TOGGLE
    return toggled


def _highest_bit(magnitude: NDArray[np.int32]) -> NDArray[np.int32]:
    bit: NDArray[np.int32] = np.frexp(magnitude)[1].astype(np.int32) - 1
    return bit


_MULAW_DECODED, _MULAW_ENCODED = _mulaw_decoded(), _mulaw_encoded()
_ALAW_DECODED, _ALAW_ENCODED = _alaw_decoded(), _alaw_encoded()


# -- files ---------------------------------------------------------------------------------------------------


def read_audio(path: Path, sample_rate: int) -> Samples:
    """Read the first sound track of any media file, mixed to mono.

    Raises:
        InvalidRequest: there is no such file, or no sound in it.
    """
    _check_rate(sample_rate)
    try:
        return _join(list(_decoded(path, sample_rate)))
    except (av.FFmpegError, OSError, ValueError) as exc:
        raise InvalidRequest(f"expected a sound file, got {path}: {exc}") from exc


def _decoded(path: Path, sample_rate: int) -> Iterator[av.AudioFrame]:
    resampler = av.AudioResampler(format="fltp", rate=sample_rate, threads=1)
    with av.open(str(path)) as container:
        if not container.streams.audio:
            raise ValueError("it has no sound track")
        for frame in container.decode(audio=0):
            yield from resampler.resample(frame)
    yield from resampler.resample(None)


def write_wav(path: Path, samples: Samples, sample_rate: int) -> None:
    """Write mono 16-bit PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(float_to_pcm16(samples))


def level_dbfs(samples: Samples) -> float:
    """The root mean square in dB below full scale; `SILENCE_DBFS` where there is nothing."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return max(10 * float(np.log10(power)), SILENCE_DBFS) if power else SILENCE_DBFS
