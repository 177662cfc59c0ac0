"""A sound card whose device is scripted."""

from __future__ import annotations

import asyncio
import sys
import types
from typing import Any

import numpy as np
import pytest

from edge_client.soundcard import (
    BLOCK_SAMPLES,
    READY_BLOCKS,
    SOUNDCARD_RATE,
    Devices,
    Soundcard,
    device_list,
    portaudio,
)
from routing.errors import SettingsError
from routing.turns import Samples
from tests.fake_stream import FakeStream
from tests.scripted import tone


class Counting:
    """Gives 1, 2, 3, … to the loudspeaker."""

    def __init__(self) -> None:
        self.given = 0

    def read(self, count: int) -> Samples:
        self.given += count
        return np.arange(self.given - count + 1, self.given + 1, dtype=np.float32)


async def test_what_is_recorded_is_heard_and_what_is_read_is_played(nothing_left_behind: None) -> None:
    heard: list[Samples] = []
    voice, stream, room = Counting(), FakeStream(), tone(0.2)
    async with Soundcard(hear=heard.append, read=voice.read).running(stream, echo=False):
        await stream.record(room, pace_sec=0)
    assert np.array_equal(np.concatenate(heard), room)
    played = stream.sound[BLOCK_SAMPLES:]  # the first block is asked for before there is any
    assert np.array_equal(played, np.arange(1, len(played) + 1, dtype=np.float32))
    assert stream.closed


async def test_after_a_busy_loop_no_delay_stays() -> None:
    voice, stream = Counting(), FakeStream()
    card = Soundcard(hear=lambda samples: None, read=voice.read)
    async with card.running(stream, echo=False):
        await stream.record(tone(0.1), pace_sec=0)
        for _ in range(20):  # the device goes on while the loop does not
            stream.played.append(card._exchange(np.zeros(BLOCK_SAMPLES, np.float32)))
        await asyncio.sleep(0)
        await stream.record(tone(0.1), pace_sec=0)
    read_ahead = voice.given - stream.sound.max()
    assert read_ahead <= READY_BLOCKS * BLOCK_SAMPLES


async def test_the_echo_is_taken_out() -> None:
    heard: list[Samples] = []
    voice = np.random.default_rng(3).normal(0, 0.1, 4 * SOUNDCARD_RATE).astype(np.float32)
    position = 0

    def read(count: int) -> Samples:
        nonlocal position
        position += count
        return voice[position - count : position]

    stream = FakeStream()
    async with Soundcard(hear=heard.append, read=read).running(stream, echo=True):
        for _ in range(150):  # the microphone hears what was played two blocks ago
            echo = stream.played[-2] if len(stream.played) >= 2 else np.zeros(BLOCK_SAMPLES, np.float32)
            await stream.record(0.5 * echo, pace_sec=0)
    loudness = [float(np.sqrt(np.mean(block**2))) for block in heard]
    assert np.mean(loudness[-20:]) < 0.1 * 0.5 * 0.1


# -- machines without sound ------------------------------------------------------------------------------------------


class NoDeviceError(Exception):
    pass


def fake_sounddevice(**attributes: Any) -> types.ModuleType:
    module = types.ModuleType("sounddevice")
    vars(module).update({"PortAudioError": NoDeviceError, **attributes})
    return module


def refuse(**settings: object) -> None:
    raise NoDeviceError("Error querying device -1")


def accept(**settings: object) -> None:
    return


def test_a_machine_without_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice(check_input_settings=refuse))
    with pytest.raises(SettingsError, match=r"found no usable ones: Error querying device -1; see: antiphon talk"):
        portaudio(Devices())


def test_a_machine_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(SettingsError, match=r"pip install 'antiphon\[talk\]'"):
        portaudio(Devices())


def test_the_devices_asked_for_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[dict[str, Any]] = []

    class Stream:
        latency = (0.01, 0.02)

        def __init__(self, **settings: Any) -> None:
            opened.append(settings)

        def start(self) -> None:
            recorded = np.full((BLOCK_SAMPLES, 1), 0.5, np.float32)
            self.played = np.zeros((BLOCK_SAMPLES, 1), np.float32)
            opened[0]["callback"](recorded, self.played, BLOCK_SAMPLES, None, None)

        def close(self) -> None:
            opened.append({"closed": True})

    fake = fake_sounddevice(check_input_settings=accept, check_output_settings=accept, Stream=Stream)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    recorded: list[Samples] = []

    def exchange(block: Samples) -> Samples:
        recorded.append(block)
        return block * 2

    stream = portaudio(Devices(microphone="3", loudspeaker="USB"))(exchange)
    stream.start()
    stream.close()
    assert opened[0]["device"] == (3, "USB")
    assert opened[0]["samplerate"] == SOUNDCARD_RATE
    assert recorded[0].shape == (BLOCK_SAMPLES,)
    assert stream.delay_sec == pytest.approx(0.03)
    assert opened[1] == {"closed": True}


def test_the_devices_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice(query_devices=lambda: "0 Microphone"))
    assert device_list() == "0 Microphone"
