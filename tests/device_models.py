"""The device's models, scripted: sound that spells words, a reader of it, a writer with a script, and a voice.

Their threads are real.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edge_client.models.library import Hosted, Library
from edge_client.models.moonshine import Transcription
from edge_client.models.smollm2 import Completion
from edge_client.models.thread import ModelThread
from routing.turns import REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE, AudioChunk, Samples

WORD_SAMPLES = SPEECH_SAMPLE_RATE * 320 // 1000
CHUNK_SAMPLES = SPEECH_SAMPLE_RATE * 80 // 1000
MOST_WORDS = 4096
ENDLESS = " <endless>"  # in a script: write on until stopped
PATIENCE_SEC = 5  # nothing scripted takes longer, unless it hangs

_VOCABULARY: list[str] = [""]  # a word is spelled by its place, as loudness; 0 is silence


def spoken(text: str) -> Samples:
    """A sound that `ScriptedEar` understands as ``text``: 320 ms for each word."""
    words = [np.full(WORD_SAMPLES, _number(word) / 10_000, np.float32) for word in text.split()]
    return np.concatenate([np.zeros(0, np.float32), *words])


def chunks(samples: Samples) -> Iterator[AudioChunk]:
    for start in range(0, len(samples), CHUNK_SAMPLES):
        yield AudioChunk(samples[start : start + CHUNK_SAMPLES], SPEECH_SAMPLE_RATE)


def _number(word: str) -> int:
    if word not in _VOCABULARY:
        _VOCABULARY.append(word)
    return _VOCABULARY.index(word)


@dataclass(slots=True)
class Faulty:
    """A model that raises ``fault`` while there is one."""

    fault: Exception | None = None

    def _check(self) -> None:
        if self.fault is not None:
            raise self.fault


@dataclass(slots=True)
class ScriptedEar(Faulty):
    """Moonshine's stand-in. A word counts once half of it was heard."""

    passes: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)  # samples and draft of each

    def transcribe(self, samples: Samples, draft: Sequence[int] = ()) -> Transcription:
        self._check()
        self.passes.append((len(samples), tuple(draft)))
        heard = samples[WORD_SAMPLES // 2 :: WORD_SAMPLES]
        tokens = tuple(number for value in heard if (number := round(float(value) * 10_000)))
        return Transcription(" ".join(_VOCABULARY[token] for token in tokens), tokens)


@dataclass(slots=True)
class WordCounter(Faulty):
    """MiniLM's stand-in: sentences are alike as far as they share words."""

    embedded: list[str] = field(default_factory=list)
    columns: dict[str, int] = field(default_factory=dict)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self._check()
        self.embedded += texts
        counts = np.zeros((len(texts), MOST_WORDS), np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"[a-z0-9']+", text):
                counts[row, self.columns.setdefault(word, len(self.columns))] = 1
        lengths = np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-6)
        return (counts / lengths).astype(np.float32)


@dataclass(slots=True)
class ScriptedWriter(Faulty):
    """SmolLM2's stand-in: continues a prompt by what stands in ``replies`` for its last line, word by word.

    While ``pen`` is clear it writes nothing more, and its thread waits.
    """

    replies: Mapping[str, str] = field(default_factory=dict)
    pen: threading.Event = field(default_factory=threading.Event)
    completeness: float = 0.9
    prompts: list[str] = field(default_factory=list)
    judged: list[str] = field(default_factory=list)
    prefilled: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    stopped: int = 0  # generations that the reader ended

    def __post_init__(self) -> None:
        self.pen.set()

    def generate(
        self,
        prompt: str,
        *,
        max_tokens: int,
        stop: Sequence[str] = (),
        grammar: str | None = None,
        json_schema: Mapping[str, Any] | None = None,
        emit: Callable[[str], bool] = lambda text: False,
    ) -> Completion:
        self._check()
        self.prompts.append(prompt)
        line = prompt.removesuffix("\nAssistant:").rsplit("\n", 1)[-1]
        pieces = re.findall(r" ?[^ ]+", self.replies.get(line, ""))
        for piece in pieces[:max_tokens]:
            assert self.pen.wait(PATIENCE_SEC)
            self.written.append(piece)
            if piece == ENDLESS:
                self._write_until_stopped(emit)
            elif emit(piece):
                self.stopped += 1
                break
        return Completion(text="".join(pieces), tokens=len(pieces), prompt_tokens=0, cached_tokens=0)

    def _write_until_stopped(self, emit: Callable[[str], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SEC
        while not emit(" and on"):
            assert time.monotonic() < deadline, "nobody stopped the writer"
            time.sleep(0.001)
        self.stopped += 1

    def end_of_sentence(self, prompt: str) -> float:
        self._check()
        assert self.pen.wait(PATIENCE_SEC)
        self.judged.append(prompt)
        return self.completeness

    def prefill(self, prompt: str) -> None:
        self._check()
        self.prefilled.append(prompt)

    def close(self) -> None:
        """Nothing to free."""


@dataclass(slots=True)
class ScriptedVoice(Faulty):
    """Hibari's stand-in: half a second for each word."""

    said: list[str] = field(default_factory=list)

    def speak(self, text: str) -> Samples:
        self._check()
        self.said.append(text)
        return np.full(len(text.split()) * REPLY_SAMPLE_RATE // 2, 0.1, np.float32)


@dataclass(frozen=True, slots=True)
class ScriptedModels:
    ear: ScriptedEar = field(default_factory=ScriptedEar)
    counter: WordCounter = field(default_factory=WordCounter)
    writer: ScriptedWriter = field(default_factory=ScriptedWriter)
    voice: ScriptedVoice = field(default_factory=ScriptedVoice)

    @contextmanager
    def library(self) -> Iterator[Library]:
        """The models on real threads, which end with the context."""
        names = ("voice_activity", "turn_end", "speech_to_text", "embedder", "language", "voice")
        models = (None, None, self.ear, self.counter, self.writer, self.voice)
        hosted = {name: Hosted(model, ModelThread(name)) for name, model in zip(names, models, strict=True)}
        library = Library(**cast(Any, hosted))
        try:
            yield library
        finally:
            self.writer.pen.set()
            library.close()
