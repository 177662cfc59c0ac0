"""What the device makes of spoken questions, and how long it takes to begin its answer, with the real models.

Run ``python -m tests.bench_device``; it needs the model files and takes about a minute. A voice asks each question in
real time; then a reply is asked for, and the clock runs until its first sound. The voice is synthetic: the figures
tell how quick the device is, not how well it understands people.
"""

from __future__ import annotations

import asyncio
import os
import statistics
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from edge_client.audio import resample
from edge_client.device.backend import DeviceBackend
from edge_client.device.settings import DeviceSettings
from edge_client.device.skills import load_skills
from edge_client.models.library import Library, load_library
from edge_client.models.store import ModelStore, default_folder
from routing.turns import (
    REPLY_SAMPLE_RATE,
    SPEECH_SAMPLE_RATE,
    AudioChunk,
    Heard,
    ReplyEnd,
    Samples,
    TextDelta,
    Turn,
)

CHUNK_SAMPLES = SPEECH_SAMPLE_RATE * 80 // 1000
WRITING_MS = 10  # a first text that takes longer was written by the language model

QUESTIONS = (
    "What time is it?",
    "What's today's date?",
    "Set a timer for ten minutes.",
    "Remind me in half an hour to call my mother.",
    "What is twelve times eight?",
    "What is fifteen percent of eighty?",
    "How are you today?",
    "Tell me a joke.",
    "What can you do?",
    "Thank you very much.",
    "What is the weather like today?",
    "What is the capital of France?",
    "Why is the sky blue?",
    "Who painted the Mona Lisa?",
    "How many legs does a spider have?",
    "What is the largest planet?",
    "How do I boil an egg?",
    "What is photosynthesis?",
    "When did World War Two end?",
    "How do you say hello in Spanish?",
    "What do bees make?",
    "I just got a new puppy.",
    "I think I will go for a walk now.",
    "What is a good way to learn a language?",
)


@dataclass(frozen=True, slots=True)
class Answer:
    heard: str
    text: str
    heard_ms: float
    first_audio_ms: float
    written: bool  # by the language model

    @property
    def path(self) -> str:
        return "language model" if self.written else "skill"


async def main() -> None:
    library = await load_library(ModelStore(default_folder(os.environ)), progress=lambda text: None)
    try:
        backend = DeviceBackend(library=library, skills=load_skills(), settings=DeviceSettings())
        await backend.prepare()
        show([await ask(backend, await spoken(library, question)) for question in QUESTIONS])
    finally:
        library.close()


async def spoken(library: Library, text: str) -> Samples:
    samples = await library.voice.thread.run(lambda: library.voice.model.speak(text))
    silence = np.zeros(SPEECH_SAMPLE_RATE // 10, np.float32)
    return np.concatenate([silence, resample(samples, REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE), silence])


async def ask(backend: DeviceBackend, speech: Samples) -> Answer:
    turn = Turn(session_id="bench", turn_id="bench", index=0)
    async with backend.open(turn, on_heard=lambda heard: None) as exchange:
        for start in range(0, len(speech), CHUNK_SAMPLES):
            chunk = AudioChunk(speech[start : start + CHUNK_SAMPLES], SPEECH_SAMPLE_RATE)
            exchange.feed(chunk)
            await asyncio.sleep(chunk.duration_sec)
        exchange.commit()
        now = asyncio.get_running_loop().time
        began, text, moments, end = now(), "", dict[type, float](), ReplyEnd()
        heard = Heard("", is_final=True)
        async for event in exchange.reply():
            moments.setdefault(type(event), 1000 * (now() - began))
            match event:
                case Heard():
                    heard = event
                case TextDelta():
                    text += event.text
                case ReplyEnd():
                    end = event
    written = end.timings_ms["first_text"] > WRITING_MS
    return Answer(heard.text, text, moments[Heard], moments[AudioChunk], written)


def show(answers: list[Answer]) -> None:
    table = Table("asked", "heard", "answer", "by", "words ms", "first audio ms")
    for question, answer in zip(QUESTIONS, answers, strict=True):
        heard = "" if answer.heard == question else answer.heard
        times = f"{answer.heard_ms:.0f}", f"{answer.first_audio_ms:.0f}"
        table.add_row(question, heard, answer.text, answer.path, *times)
    console = Console()
    console.print(table)
    for path in ("skill", "language model"):
        times_ms = sorted(answer.first_audio_ms for answer in answers if answer.path == path)
        p90 = times_ms[int(0.9 * (len(times_ms) - 1))]
        figures = f"p50 {statistics.median(times_ms):.0f}, p90 {p90:.0f}, max {times_ms[-1]:.0f} ms"
        console.print(f"reply asked for → first audio, {path} (n = {len(times_ms)}): {figures}")
    console.print(f"load average over the last minute: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    asyncio.run(main())
