"""This machine's microphone and loudspeaker, for callers that need no browser."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edge_client.echo import EchoCanceller
from routing.errors import SettingsError
from routing.turns import REPLY_SAMPLE_RATE, Samples

SOUNDCARD_RATE = REPLY_SAMPLE_RATE  # the operating system converts to what the hardware has
BLOCK_SAMPLES = 480  # 20 ms
BLOCK_SEC = BLOCK_SAMPLES / SOUNDCARD_RATE
READY_BLOCKS = 2  # sound kept ready for the loudspeaker, against a busy event loop
EXTRA = "talking here needs an extra: pip install 'antiphon[talk]'"
LIBRARY = "talking here needs the PortAudio library (on Debian: apt-get install libportaudio2)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """Which devices to use, by number or a part of the name; None is the system's choice."""

    microphone: str | None = None
    loudspeaker: str | None = None


class Stream(Protocol):
    """A device that was opened. From `start` on it calls back once per block, on a thread of its own."""

    @property
    def delay_sec(self) -> float:
        """From a sample's leaving to its coming back through the air."""

    def start(self) -> None: ...

    def close(self) -> None: ...


type Exchange = Callable[[Samples], Samples]  # takes a recorded block, gives the block to play
type OpenStream = Callable[[Exchange], Stream]


class Soundcard:
    """Joins a device on its own thread to two functions on the event loop.

    ``hear`` takes what was recorded, without the echo, and ``read`` gives the next samples to play, both mono at
    `SOUNDCARD_RATE`. When the loop is late the loudspeaker is silent, and nothing piles up.
    """

    def __init__(self, *, hear: Callable[[Samples], None], read: Callable[[int], Samples]) -> None:
        self._hear = hear
        self._read = read
        self._loop = asyncio.get_running_loop()
        self._ready: deque[Samples] = deque()
        self._canceller: EchoCanceller | None = None

    @asynccontextmanager
    async def running(self, open_stream: OpenStream, *, echo: bool) -> AsyncIterator[None]:
        """Record and play until the block ends."""
        stream = await asyncio.to_thread(open_stream, self._exchange)  # drivers take their time
        try:
            if echo:
                self._canceller = EchoCanceller(SOUNDCARD_RATE, round(stream.delay_sec * 1000))
            await asyncio.to_thread(stream.start)
            yield
        finally:
            await asyncio.to_thread(stream.close)

    def _exchange(self, recorded: Samples) -> Samples:
        """On the device's thread: must be quick and never wait."""
        played = self._next_block(len(recorded))
        cleaned = self._canceller.process(recorded, played) if self._canceller else recorded
        self._loop.call_soon_threadsafe(self._turn, cleaned)
        return played

    def _next_block(self, count: int) -> Samples:
        return self._ready.popleft() if self._ready else np.zeros(count, np.float32)

    def _turn(self, cleaned: Samples) -> None:
        """On the event loop, once for each block."""
        while len(self._ready) < READY_BLOCKS:
            self._ready.append(self._read(BLOCK_SAMPLES))
        if len(cleaned):
            self._hear(cleaned)


# -- PortAudio -------------------------------------------------------------------------------------------------------


def portaudio(devices: Devices) -> OpenStream:
    """A way to open the devices, already tried.

    Raises:
        SettingsError: there is no sound on this machine, or not the devices that were asked for.
    """
    sounddevice = _sounddevice()
    choice = _chosen(devices.microphone), _chosen(devices.loudspeaker)
    form = {"channels": 1, "samplerate": SOUNDCARD_RATE, "dtype": "float32"}
    try:
        sounddevice.check_input_settings(device=choice[0], **form)
        sounddevice.check_output_settings(device=choice[1], **form)
    except (sounddevice.PortAudioError, ValueError) as exc:
        raise SettingsError(
            f"expected a microphone and a loudspeaker, found no usable ones: {exc}; see: antiphon talk --devices"
        ) from exc
    return lambda exchange: _PortAudioStream(sounddevice, choice, form, exchange)


def device_list() -> str:
    """The devices of this machine, one a line, by number.

    Raises:
        SettingsError: there is no sound on this machine.
    """
    return str(_sounddevice().query_devices()) or "there are no sound devices"


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as exc:
        raise SettingsError(EXTRA) from exc
    except OSError as exc:
        raise SettingsError(LIBRARY) from exc
    return sounddevice


def _chosen(device: str | None) -> str | int | None:
    return int(device) if device is not None and device.isdecimal() else device


class _PortAudioStream:
    def __init__(
        self,
        sounddevice: Any,
        devices: tuple[str | int | None, str | int | None],
        form: dict[str, Any],
        exchange: Exchange,
    ) -> None:
        def call_back(recorded: Any, played: Any, frames: int, time: Any, status: Any) -> None:  # noqa: ARG001
            played[:, 0] = exchange(recorded[:, 0].copy())

        self._stream = sounddevice.Stream(
            device=devices, blocksize=BLOCK_SAMPLES, latency="low", callback=call_back, **form
        )

    @property
    def delay_sec(self) -> float:
        return float(sum(self._stream.latency))

    def start(self) -> None:
        self._stream.start()

    def close(self) -> None:
        self._stream.close()
