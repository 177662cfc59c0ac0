"""libopus, called directly: what PyAV does not offer is loss recovery, concealment and any rate but 48 kHz stereo.

The library is the one inside PyAV's wheel, else the system's. See `RFC 6716 <https://www.rfc-editor.org/rfc/rfc6716>`_
and the API at opus-codec.org. A call takes 20 to 150 microseconds, so it keeps the interpreter's lock: giving it up for
so short a time would let a model's thread take it, and sound would wait for milliseconds.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from routing.turns import Samples

LONGEST_PACKET_SEC = 0.120  # the most that one packet may hold
LARGEST_PACKET = 1275  # bytes; more is never needed for one frame

_APPLICATION_VOIP = 2048
_SET_BITRATE = 4002
_SET_COMPLEXITY = 4010
_SET_INBAND_FEC = 4012
_SET_PACKET_LOSS_PERC = 4014
_SET_DTX = 4016


class OpusError(Exception):
    """A packet that is not Opus, or sound that cannot be encoded. The state is as before."""


class OpusDecoder:
    """One stream's decoder, straight to mono at ``sample_rate`` (8, 12, 16, 24 or 48 kHz)."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._state = ctypes.create_string_buffer(_LIBRARY.opus_decoder_get_size(1))
        _check(_LIBRARY.opus_decoder_init(self._state, sample_rate, 1))
        self._out = np.empty(round(LONGEST_PACKET_SEC * sample_rate), np.float32)
        self._out_pointer = self._out.ctypes.data

    def decode(self, packet: bytes) -> Samples:
        """The sound of ``packet``.

        Raises:
            OpusError: it is not an Opus packet.
        """
        return self._decode(packet, len(self._out), recover=False)

    def recover(self, packet: bytes, count: int) -> Samples:
        """``count`` samples that came right before ``packet``, from the copy in it; concealed where it has none."""
        return self._decode(packet, count, recover=True)

    def conceal(self, count: int) -> Samples:
        """``count`` samples (a multiple of 2.5 ms) that go on as the last sound did, fading."""
        return self._decode(None, count, recover=False)

    def samples_in(self, packet: bytes) -> int:
        """How many samples ``packet`` holds.

        Raises:
            OpusError: it is not an Opus packet.
        """
        return _check(_LIBRARY.opus_packet_get_nb_samples(packet, len(packet), self._rate))

    def _decode(self, packet: bytes | None, most: int, *, recover: bool) -> Samples:
        size = 0 if packet is None else len(packet)
        count = _check(_LIBRARY.opus_decode_float(self._state, packet, size, self._out_pointer, most, int(recover)))
        return self._out[:count].copy()


class OpusEncoder:
    """One stream's encoder: mono speech at ``sample_rate``, one packet for each call.

    Opus looks 6.5 ms ahead. With ``packet_loss_percent`` above zero, packets carry a coarse copy of the frame before
    them, from which a receiver rebuilds it when it was lost.
    """

    def __init__(
        self, sample_rate: int, *, bit_rate: int, complexity: int = 5, packet_loss_percent: int = 5, dtx: bool = False
    ) -> None:
        self._state = ctypes.create_string_buffer(_LIBRARY.opus_encoder_get_size(1))
        _check(_LIBRARY.opus_encoder_init(self._state, sample_rate, 1, _APPLICATION_VOIP))
        self._set(_SET_BITRATE, bit_rate)
        self._set(_SET_COMPLEXITY, complexity)
        self._set(_SET_INBAND_FEC, 1)
        self._set(_SET_PACKET_LOSS_PERC, packet_loss_percent)
        self._set(_SET_DTX, int(dtx))
        self._out = ctypes.create_string_buffer(LARGEST_PACKET)

    def encode(self, samples: Samples) -> bytes:
        """One packet of exactly ``samples``: 2.5, 5, 10, 20, 40 or 60 ms, float32 within -1 and 1.

        Raises:
            OpusError: their number is none of these.
        """
        sound = np.ascontiguousarray(samples, np.float32)
        size = _check(_LIBRARY.opus_encode_float(self._state, sound.ctypes.data, len(sound), self._out, LARGEST_PACKET))
        return self._out.raw[:size]

    def expect_loss(self, percent: int) -> None:
        """How much loss to prepare for, 0 to 100."""
        self._set(_SET_PACKET_LOSS_PERC, percent)

    @property
    def state(self) -> bytes:
        """Everything the next packet depends on besides its samples. Opus keeps it in one piece without pointers."""
        return self._state.raw

    @state.setter
    def state(self, state: bytes) -> None:
        ctypes.memmove(self._state, state, len(self._state))

    def _set(self, request: int, value: int) -> None:
        _check(_LIBRARY.opus_encoder_ctl(self._state, request, ctypes.c_int(value)))


def _check(result: int) -> int:
    if result < 0:
        raise OpusError(_LIBRARY.opus_strerror(result).decode())
    return result


def _load() -> Any:
    """The functions of libopus.

    Raises:
        OSError: there is none on this machine.
    """
    for path in _candidates():
        try:
            return _declared(ctypes.PyDLL(str(path)))
        except OSError:
            continue
    raise OSError("expected libopus inside PyAV's wheel or on the system, found none")


def _candidates() -> Iterator[Path | str]:
    package = Path(av.__file__).parent
    for folder in (package.parent / "av.libs", package / ".dylibs"):
        yield from folder.glob("libopus*")
    if system := find_library("opus"):
        yield system


def _declared(library: Any) -> Any:
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    signatures = {
        "opus_strerror": (ctypes.c_char_p, integer),
        "opus_decoder_get_size": (integer, integer),
        "opus_decoder_init": (integer, pointer, ctypes.c_int32, integer),
        "opus_decode_float": (integer, pointer, ctypes.c_char_p, ctypes.c_int32, pointer, integer, integer),
        "opus_packet_get_nb_samples": (integer, ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32),
        "opus_encoder_get_size": (integer, integer),
        "opus_encoder_init": (integer, pointer, ctypes.c_int32, integer, integer),
        "opus_encode_float": (integer, pointer, pointer, integer, pointer, ctypes.c_int32),
        "opus_encoder_ctl": (integer, pointer, integer),  # and one more, as `...` in C
    }
    for name, (result, *arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


# Read from disk when the program begins: later, sound would wait for it.
_LIBRARY: Final = _load()
