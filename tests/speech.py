"""Real human speech with transcripts, fetched when a test asks for it and kept in a cache folder.

All clips come from the source archive of pocketsphinx: LibriVox recordings (public domain) and spoken commands
(BSD licence). Synthetic speech would say little about how people are understood.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import tarfile
import urllib.request
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from edge_client.models.installer import find_uv
from routing.errors import ModelError
from routing.turns import SPEECH_SAMPLE_RATE, Samples

ARCHIVE = "pocketsphinx==5.1.1"
ARCHIVE_SHA256 = "675778b309a22dfc9b7d37f7621976bba491d2a5f8c59696bd77fd6d07271355"
FETCH_TIMEOUT_SEC = 120.0

LIBRIVOX = {
    "librivox/sense_and_sensibility_01_austen_64kb-0870.wav": "and mister john dashwood had then leisure to consider"
    " how much there might be prudently in his power to do for them",
    "librivox/sense_and_sensibility_01_austen_64kb-0880.wav": "he was not an ill disposed young man",
    "librivox/sense_and_sensibility_01_austen_64kb-0890.wav": "unless to be rather cold hearted and rather selfish is"
    " to be ill disposed",
    "librivox/sense_and_sensibility_01_austen_64kb-0920.wav": "had he married a more amiable woman he might have been"
    " made still more respectable than he was",
    "librivox/sense_and_sensibility_01_austen_64kb-0930.wav": "he might even have been made amiable himself",
}
COMMANDS = {
    "goforward.raw": "go forward ten meters",
    "something.raw": "go somewhere and do something",
    "cards/001.wav": "ten of clubs",
    "cards/002.wav": "four queen of clubs",
    "cards/003.wav": "seven of clubs",
    "cards/004.wav": "five five",
    "cards/005.wav": "eight of spades four of clubs seven of hearts",
}


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """What somebody said: a 16 kHz mono WAV file, its samples, and the words in lower case."""

    path: Path
    samples: Samples
    text: str


def librivox_clips() -> list[Clip]:
    """Five sentences of 3 to 7 s, read by one person. Skips the test where they cannot be had."""
    return [_clip(name, text) for name, text in LIBRIVOX.items()]


def command_clips() -> list[Clip]:
    """Seven commands of 1 to 4 s by several people. Skips the test where they cannot be had."""
    return [_clip(name, text) for name, text in COMMANDS.items()]


def read_wav(path: Path) -> tuple[Samples, int]:
    """The samples of a mono 16-bit file, and their rate."""
    with wave.open(str(path)) as file:
        return _floats(file.readframes(file.getnframes())), file.getframerate()


def words(text: str) -> str:
    """``text`` as it is scored: lower case, no punctuation, small numbers and titles spelled out."""
    spelled = re.sub(r"\bmr\b\.?", "mister", text.lower())
    spelled = re.sub(r"\d+", lambda number: NUMBERS.get(number[0], number[0]), spelled)
    return " ".join(re.sub(r"[^\w']+", " ", spelled).split())


NUMBERS = dict(zip(map(str, range(11)), "zero one two three four five six seven eight nine ten".split(), strict=True))


# -- the archive -----------------------------------------------------------------------------------------------------


def _clip(name: str, text: str) -> Clip:
    path = _folder() / Path(name).with_suffix(".wav").name
    if not path.is_file():
        _fetch_all()
    samples, sample_rate = read_wav(path)
    assert sample_rate == SPEECH_SAMPLE_RATE
    return Clip(path, samples, text)


def _folder() -> Path:
    named = os.environ.get("ANTIPHON_TEST_SPEECH", "~/.cache/antiphon/test-speech")
    return Path(named).expanduser()


def _fetch_all() -> None:
    _folder().mkdir(parents=True, exist_ok=True)
    for name, content in _members(_fetch_archive()):
        path = _folder() / Path(name).with_suffix(".wav").name
        passing = path.with_suffix(f".{os.getpid()}")
        passing.write_bytes(content if name.endswith(".wav") else _wav(content))
        passing.replace(path)


def _fetch_archive() -> bytes:
    try:
        with urllib.request.urlopen(_address(), timeout=FETCH_TIMEOUT_SEC) as response:
            archive: bytes = response.read()
    except (OSError, ModelError, subprocess.SubprocessError) as error:
        _cannot_be_had(str(error))
    assert hashlib.sha256(archive).hexdigest() == ARCHIVE_SHA256
    return archive


def _address() -> str:
    """Where the package index keeps the source archive, as uv resolves it."""
    command = [*find_uv(), "pip", "compile", "--quiet", "--no-deps", "--format", "pylock.toml", "-"]
    lock = subprocess.run(
        command, input=ARCHIVE, capture_output=True, text=True, check=True, timeout=FETCH_TIMEOUT_SEC
    ).stdout
    if not (found := re.search(r'sdist = \{ url = "([^"]+)"', lock)):
        _cannot_be_had("the package index names no source archive")
    return found[1]


def _cannot_be_had(reason: str) -> NoReturn:
    message = f"recordings of human speech ({ARCHIVE}, source archive) cannot be fetched: {reason}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def _members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    wanted = {f"{ARCHIVE.replace('==', '-')}/test/data/{name}": name for name in LIBRIVOX | COMMANDS}
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for path, name in wanted.items():
            file = files.extractfile(path)
            assert file is not None
            yield name, file.read()


def _wav(pcm: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SPEECH_SAMPLE_RATE)
        writer.writeframes(pcm)
    return file.getvalue()


def _floats(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
