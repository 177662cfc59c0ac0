"""How often the endpointer cuts in, and how long it lets people wait, with the real models.

Run ``python -m tests.bench_endpointer``; it needs the model files and takes about half a minute. A voice says sentences
to the end, and the same ones cut after an inner word. On a whole sentence the endpointer should decide early; on a cut
one it should give its speaker time. The voice is synthetic and never hesitates: compare rows, do not quote them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from edge_client.audio import Resampler
from edge_client.caller.loudness import speech_span
from edge_client.device.prompt import prompt_for
from edge_client.endpointer import (
    FRAME_SAMPLES,
    Endpointer,
    EndpointerSettings,
    SpeechOnset,
    SpeechPaused,
    TurnEnded,
)
from edge_client.fading import Fading
from edge_client.models.hibari import HibariVoice
from edge_client.models.moonshine import Moonshine
from edge_client.models.silero import SileroModel
from edge_client.models.smart_turn import SmartTurn
from edge_client.models.smollm2 import SmolLM2
from edge_client.models.store import ModelStore, default_folder
from routing.turns import REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE, Samples

COMPLETE_HOLDS_MS = (192, 224, 256, 288, 320)
EVIDENCE_FRAMES = 3  # after the pause is signalled: what the models take on an idle machine, in frames
LEAD_IN_SEC, LEAD_OUT_SEC = 0.5, 3.0
PRE_ROLL_SAMPLES = 10 * FRAME_SAMPLES
NOISE = 3e-4  # a quiet room

# What is said, and how many seconds of it a cut takes away: whole words, found by forced alignment.
SENTENCES = (
    ("What is the weather like today?", 1.12),
    ("Set a timer for ten minutes.", 1.13),
    ("Can you tell me a joke?", 1.26),
    ("How far is it to the nearest train station?", 1.05),
    ("Remind me to call my mother this evening.", 1.48),
    ("Turn off the lights in the kitchen, please.", 1.93),
    ("What is seventeen times twenty three?", 1.96),
    ("I would like to book a table for two people at eight o'clock.", 2.65),
    ("Who wrote Pride and Prejudice?", 1.54),
    ("Play some quiet music while I am cooking.", 1.41),
    ("My flight was cancelled and I need a new ticket.", 0.91),
    ("How do I get from the airport to the city centre?", 1.94),
    ("Please add milk, eggs and bread to my shopping list.", 1.24),
    ("What day is it tomorrow?", 0.93),
    ("Could you speak a little more slowly?", 1.75),
    ("I think we should leave before it gets dark.", 1.17),
    ("Do I need an umbrella this afternoon?", 1.86),
    ("The kitchen light has been flickering all week.", 0.76),
    ("When does the museum open on Sundays?", 2.08),
    ("I forgot my password and cannot log in.", 1.34),
    ("How much does a monthly ticket cost?", 1.59),
    ("Can we move the meeting to Thursday morning?", 1.54),
    ("My order has not arrived yet, and nobody answers the phone.", 3.23),
    ("Give me three ideas for dinner.", 0.81),
    ("I have a headache and I feel a bit dizzy.", 1.67),
    ("Is there a pharmacy near here that is open now?", 2.52),
    ("Wake me up at half past six.", 1.48),
    ("Please cancel my appointment on Friday.", 1.12),
    ("What should I wear to a winter wedding?", 1.43),
    ("The train to London leaves from platform four.", 0.87),
    ("Can you recommend a good book for a long journey?", 1.67),
    ("How long does it take to boil an egg?", 0.94),
    ("Send an email to Anna and tell her I will be late.", 1.67),
    ("It was a lovely evening, and we stayed until midnight.", 1.65),
    ("Which bus goes to the university?", 1.29),
    ("Turn the heating up by two degrees.", 1.57),
    ("My daughter is learning to play the violin.", 1.47),
    ("Add one hundred and five to forty two.", 1.6),
    ("When is the next full moon?", 1.03),
    ("Do you know what time the shops close tonight?", 1.51),
)


class Scores(NamedTuple):
    audio: float
    text: float


@dataclass(slots=True)
class Recording:
    """What was said, as the models understood it. ``speech_end`` is where its sound ends, in samples."""

    is_complete: bool
    speech_end: int
    probabilities: list[float]
    sounds: list[int]  # how much of each frame holds sound
    scores: dict[int, Scores] = field(default_factory=dict)  # of the pause that begins at that sample


class Listener:
    """The models that judge a pause."""

    def __init__(self, store: ModelStore) -> None:
        self._voice_activity = SileroModel(store.path("voice_activity"))
        self._turn_end = SmartTurn(store.path("turn_end"))
        self._speech_to_text = Moonshine(store.path("speech_encoder").parent)
        self._language = SmolLM2(store.path("language"))
        self._prompt = prompt_for(())

    def record(self, said: Samples, *, is_complete: bool) -> Recording:
        """Run every model once, at every pause that any setting could meet."""
        stream = in_a_quiet_room(said)
        detector = self._voice_activity.detector()
        frames = np.split(stream, len(stream) // FRAME_SAMPLES)
        probabilities = [detector.probability(frame) for frame in frames]
        fading = Fading()
        sounds = [fading.sound(frame) for frame in frames]
        span = speech_span(stream, SPEECH_SAMPLE_RATE)
        assert span, "every sentence is heard"
        recording = Recording(is_complete, span.end, probabilities, sounds)
        for onset, pause, position in pauses(recording):
            turn = stream[max(0, onset - PRE_ROLL_SAMPLES) : position]
            recording.scores[pause] = self._judge(turn)
        return recording

    def _judge(self, turn: Samples) -> Scores:
        words = self._speech_to_text.transcribe(turn).text
        text = self._language.end_of_sentence(self._prompt.question(words)) if words else 0.0
        return Scores(self._turn_end.completeness(turn), text)


def in_a_quiet_room(said: Samples) -> Samples:
    seconds = (LEAD_IN_SEC, LEAD_OUT_SEC)
    before, after = (np.zeros(int(duration * SPEECH_SAMPLE_RATE), np.float32) for duration in seconds)
    stream: Samples = np.concatenate([before, said, after])
    stream += NOISE * np.random.default_rng(0).standard_normal(len(stream), np.float32)
    return stream[: len(stream) // FRAME_SAMPLES * FRAME_SAMPLES]


def pauses(recording: Recording) -> Iterator[tuple[int, int, int]]:
    """The onset of the turn, the pause, and where it was noticed; no pause ends the turn here."""
    patient = EndpointerSettings(maximum_hold_ms=10_000)
    endpointer, onset = Endpointer(patient), 0
    for probability, sound in zip(recording.probabilities, recording.sounds, strict=True):
        for signal in endpointer.feed(probability, sound=sound):
            if isinstance(signal, SpeechOnset):
                onset = signal.at
            elif isinstance(signal, SpeechPaused):
                yield onset, signal.speech_end, endpointer.position


def decide(recording: Recording, settings: EndpointerSettings) -> TurnEnded | None:
    """The first end of turn, with the scores of each pause arriving a little after it."""
    endpointer = Endpointer(settings)
    pause, due = 0, -1
    for index, (probability, sound) in enumerate(zip(recording.probabilities, recording.sounds, strict=True)):
        if index == due:
            endpointer.score_audio(recording.scores[pause].audio)
            endpointer.score_text(recording.scores[pause].text)
        for signal in endpointer.feed(probability, sound=sound):
            if isinstance(signal, TurnEnded):
                return signal
            if isinstance(signal, SpeechPaused):
                pause, due = signal.speech_end, index + EVIDENCE_FRAMES
    return None


@dataclass(slots=True)
class Verdicts:
    """How the turns of one setting ended; waits are in milliseconds."""

    whole: list[float] = field(default_factory=list)
    cut: list[float] = field(default_factory=list)
    too_early: int = 0  # whole sentences that were cut off in an inner pause
    unheard: int = 0

    def add(self, recording: Recording, end: TurnEnded | None) -> None:
        if end is None:
            self.unheard += 1
        elif recording.is_complete and end.speech_end < recording.speech_end - SPEECH_SAMPLE_RATE // 2:
            self.too_early += 1
        else:
            wait_ms = (end.at - recording.speech_end) * 1000 / SPEECH_SAMPLE_RATE
            (self.whole if recording.is_complete else self.cut).append(wait_ms)

    def row(self, name: str) -> list[str]:
        cut_in = (100 * sum(wait <= limit for wait in self.cut) / len(self.cut) for limit in (400, 800))
        whole = (np.percentile(self.whole, percentile) for percentile in (50, 90, 95))
        counts = (self.too_early, self.unheard)
        return [
            name,
            *(f"{wait:.0f}" for wait in whole),
            *map(str, counts),
            *(f"{percent:.0f} %" for percent in cut_in),
        ]


COLUMNS = (
    "complete hold",
    "wait p50",
    "p90",
    "p95 ms",
    "cut off inside",
    "unheard",
    "cut-in ≤ 400 ms",
    "≤ 800 ms",
)


def said() -> Iterator[tuple[Samples, bool]]:
    voice = HibariVoice()
    for text, rest_sec in SENTENCES:
        resampler = Resampler(REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE)
        whole = np.concatenate([resampler.feed(voice.speak(text)), resampler.flush()])
        yield whole, True
        yield whole[: -int(rest_sec * SPEECH_SAMPLE_RATE)], False


def main() -> None:
    listener = Listener(ModelStore(default_folder(os.environ)))
    recordings = [listener.record(samples, is_complete=is_complete) for samples, is_complete in said()]
    table = Table(*COLUMNS, title=f"{len(SENTENCES)} sentences, whole and cut")
    for hold_ms in COMPLETE_HOLDS_MS:
        settings = EndpointerSettings(complete_hold_ms=hold_ms)
        verdicts = Verdicts()
        for recording in recordings:
            verdicts.add(recording, decide(recording, settings))
        table.add_row(*verdicts.row(f"{hold_ms} ms"))
    Console().print(table)


if __name__ == "__main__":
    main()
