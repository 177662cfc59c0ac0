"""What one user says in one turn: the audio so far, and the words so far."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge_client.device.calls import call
from routing.turns import SPEECH_SAMPLE_RATE, Samples

if TYPE_CHECKING:
    from edge_client.models.library import Hosted
    from edge_client.models.moonshine import Moonshine, Transcription

logger = logging.getLogger(__name__)

LONGEST_PASS = 16 * SPEECH_SAMPLE_RATE  # beyond it the beginning is settled, or a long turn would get a late answer
LEAST_SETTLED = 6 * SPEECH_SAMPLE_RATE
MOST_SETTLED = 14 * SPEECH_SAMPLE_RATE
MOST_WAITING = 60 * SPEECH_SAMPLE_RATE
_HUSH = SPEECH_SAMPLE_RATE // 10  # the stretch whose loudness is compared when looking for a pause


class Transcriber(Protocol):
    """Writes down speech."""

    async def transcribe(self, samples: Samples, draft: tuple[int, ...]) -> Transcription:
        """The words in ``samples`` (16 kHz); ``draft`` are the tokens of an earlier transcription of its beginning.

        Raises:
            BackendError: the model failed.
        """
        ...


class HostedTranscriber:
    """Asks the model for one turn at a time."""

    def __init__(self, speech_to_text: Hosted[Moonshine]) -> None:
        self._speech_to_text = speech_to_text

    async def transcribe(self, samples: Samples, draft: tuple[int, ...]) -> Transcription:
        """See `Transcriber`."""
        return await call(self._speech_to_text, lambda model: model.transcribe(samples, draft))


class Listener:
    """Collects one turn's audio, and transcribes it over and over with the last words as a draft.

    The beginning of a long turn is transcribed once and for all, and its audio given up. At most 60 s wait to be
    transcribed; if the model is held up for longer than that, the oldest are lost, and a warning says so.
    """

    def __init__(self, transcriber: Transcriber) -> None:
        self.fed = 0  # samples, over the whole turn
        self._transcriber = transcriber
        self._new: deque[Samples] = deque()
        self._new_samples = 0
        self._audio: Samples = np.zeros(0, np.float32)  # what the next pass will hear, without what is new
        self._unread = False  # whether some of it has not been transcribed
        self._settled: list[str] = []
        self._text = ""
        self._draft: tuple[int, ...] = ()
        self._grown = asyncio.Event()
        self._one_pass = asyncio.Lock()

    def feed(self, samples: Samples) -> None:
        self._new.append(samples)
        self._new_samples += len(samples)
        self.fed += len(samples)
        self._grown.set()
        while self._new_samples > MOST_WAITING:
            self._new_samples -= len(self._new.popleft())
            logger.warning("speech was lost: its recognition is a minute behind")

    async def fed_up_to(self, samples: int) -> None:
        """Return when the turn is at least so long."""
        while self.fed < samples:
            self._grown.clear()
            await self._grown.wait()

    async def transcribe(self) -> str:
        """The words of the turn so far. Cancelling loses nothing but the work.

        Raises:
            BackendError: the model failed.
        """
        async with self._one_pass:
            self._take_new()
            if self._unread:
                await self._settle()
                self._text, self._draft = await self._pass(self._audio)
                self._unread = False
            return " ".join(part for part in (*self._settled, self._text) if part)

    def _take_new(self) -> None:
        if self._new:
            self._audio = np.concatenate([self._audio, *self._new])
            self._new.clear()
            self._new_samples = 0
            self._unread = True

    async def _settle(self) -> None:
        while len(self._audio) > LONGEST_PASS:
            end = _pause_in(self._audio)
            text, _ = await self._pass(self._audio[:end])
            self._settled.append(text)
            self._audio = self._audio[end:]
            self._draft = ()

    async def _pass(self, samples: Samples) -> tuple[str, tuple[int, ...]]:
        heard = await self._transcriber.transcribe(samples, self._draft)
        return heard.text, heard.tokens


def _pause_in(samples: Samples) -> int:
    """The middle of the quietest moment where the beginning may end."""
    moments = samples[LEAST_SETTLED:MOST_SETTLED].reshape(-1, _HUSH)
    return LEAST_SETTLED + int(np.square(moments).mean(axis=1).argmin()) * _HUSH + _HUSH // 2
