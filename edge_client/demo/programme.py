"""What is asked in the demonstration, in acts."""

from __future__ import annotations

from dataclasses import dataclass

from edge_client.audio import read_audio
from edge_client.caller.microphone import MICROPHONE_RATE
from edge_client.caller.question import Question, first_sentence, synthesised
from edge_client.models.store import ModelStore
from edge_client.terminal import Tell

OPENING = ("What time is it?", "What is twelve times seven?")
CHOSEN = (
    "What day is it?",
    "Set a timer for twenty minutes.",
    "What is twenty percent of eighty?",
    "How are you today?",
)
PRIVATE = ("What is five plus six?",)
SLOWED = ("What is thirty minus eleven?", "What year is it?")
BEREFT = ("What is eight times nine?", "What time is it now?")
DOOMED = "What is the difference between a village and a city?"  # whose answer is one long sentence, and takes its time
LONG = "Tell me a long story about the sea."  # whose answer is interrupted
INTERRUPTION = "What is nine plus six?"
HUMAN = "a person reading a novel"


@dataclass(frozen=True, slots=True)
class Programme:
    """What is asked, in this order.

    Args:
        opening: at once, while a cloud is still starting
        chosen: when there is one: either may answer
        private: what must not leave the device
        slowed: while the way to the cloud is slow
        doomed: what the replicas are answering when they are killed
        bereft: after that
        long: what has a long answer
        interruption: what is asked into the answer to ``long``, at last
    """

    opening: tuple[Question, ...]
    chosen: tuple[Question, ...]
    private: tuple[Question, ...]
    slowed: tuple[Question, ...]
    doomed: Question
    bereft: tuple[Question, ...]
    long: Question
    interruption: Question


def prepare(store: ModelStore, tell: Tell) -> Programme:
    """Speak the questions and cut the recording. Blocks for a few seconds.

    Raises:
        ModelError: the recording is not there.
    """
    tell("speaking the questions")
    texts = (*OPENING, *CHOSEN, *PRIVATE, *SLOWED, DOOMED, *BEREFT, LONG, INTERRUPTION)
    spoken = dict(zip(texts, synthesised(texts), strict=True))

    def act(texts: tuple[str, ...]) -> tuple[Question, ...]:
        return tuple(spoken[text] for text in texts)

    recording = read_audio(store.path("human_speech"), MICROPHONE_RATE)
    human = Question(HUMAN, first_sentence(recording, MICROPHONE_RATE))
    return Programme(
        opening=act(OPENING),
        chosen=(*act(CHOSEN), human),
        private=act(PRIVATE),
        slowed=act(SLOWED),
        doomed=spoken[DOOMED],
        bereft=act(BEREFT),
        long=spoken[LONG],
        interruption=spoken[INTERRUPTION],
    )
