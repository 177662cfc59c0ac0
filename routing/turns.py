"""What travels between the edge and whoever answers: chunks, turns, reply events, and the `Backend` interface.

A `Backend` is opened once per turn, at the first sign of speech, and gives an `Exchange`: chunks go in while the user
speaks, and each candidate end of turn asks for a reply. A reply asked for too early is closed again, and costs
nothing but the work done. The router is itself a `Backend` made of backends, so whoever holds an exchange
need not know how many machines compete for the answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

SPEECH_SAMPLE_RATE = 16_000  # what the ears hear and every backend is fed
REPLY_SAMPLE_RATE = 24_000  # what every backend answers with

type Samples = NDArray[np.float32]  # [n], mono, in [-1, 1]


@dataclass(frozen=True, slots=True, eq=False)
class AudioChunk:
    """A stretch of mono sound: ``samples`` is float32 ``[n]`` in [-1, 1] at ``sample_rate`` Hz."""

    samples: Samples
    sample_rate: int

    @property
    def duration_sec(self) -> float:
        return len(self.samples) / self.sample_rate


# -- what a turn carries ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """Something said or typed. An interrupted reply holds only the words that were heard."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A wish to run one of the caller's tools; ``arguments`` is a JSON object as text."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the caller's tool returned for ``call_id``, as text (often JSON)."""

    call_id: str
    output: str


type HistoryItem = Message | ToolCall | ToolResult
type Privacy = Literal["any", "device_only"]  # who may get to know of a turn


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the caller offers; ``parameters`` is the JSON schema of its arguments object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


def stricter(one: Privacy, other: Privacy) -> Privacy:
    """What holds where two have a say."""
    return "any" if one == other == "any" else "device_only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """All a backend needs to answer, without having met the session before.

    The question is the audio fed to the exchange. Where none is fed, it is the end of ``history``: a typed message
    or a tool's result.
    """

    session_id: str
    turn_id: str
    index: int
    history: tuple[HistoryItem, ...] = ()
    instructions: str = ""
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"  # "auto", "none", "required", or the name of the one tool to call
    modality: Literal["audio", "text"] = "audio"
    script: str | None = None  # say exactly this: announcements such as a timer that has run out
    privacy: Privacy = "any"
    trace_context: Mapping[str, str] = field(default_factory=dict)  # W3C carrier


# -- what a reply is made of -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heard:
    """The user's words as understood so far; final ones open every reply to a spoken turn.

    ``end_of_sentence`` is the probability that the sentence is complete, judged by its words, or None where nobody
    judged it. An empty final text means that no words were found: not a turn.
    """

    text: str
    is_final: bool
    end_of_sentence: float | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a turn is answered and why; ``predicted_sec`` maps each candidate to its expected wait from the turn's end.

    Another one follows where the speaker changes.
    """

    backend: str
    reason: str
    predicted_sec: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next words of the reply. They come before the audio that speaks them."""

    text: str


@dataclass(frozen=True, slots=True)
class Reminder:
    """Say ``text`` unasked after ``delay_sec`` seconds. Takes effect when the reply is released, never before."""

    delay_sec: float
    text: str


@dataclass(frozen=True, slots=True)
class ReplyEnd:
    """The reply is complete. ``timings_ms`` names each phase of the work, in the order it was done."""

    timings_ms: Mapping[str, float] = field(default_factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0


type ReplyEvent = Heard | Placement | TextDelta | AudioChunk | ToolCall | Reminder | ReplyEnd


# -- who answers -----------------------------------------------------------------------------------------------------


class Exchange(Protocol):
    """One turn's dealings with one backend. Methods are called on the event loop and never wait."""

    def feed(self, chunk: AudioChunk) -> None:
        """Take the next 16 kHz chunk of what the user says. Chunks may be fed while a reply runs."""

    def reply(self) -> AsyncGenerator[ReplyEvent]:
        """Answer what was fed so far; at most one reply is open at a time.

        Before `commit` this is speculation: the events are held by whoever reads them, and the backend produces no
        more than a few seconds of audio ahead. Closing the generator, or asking for another reply after one that
        ran to its end, rolls the work back: the exchange is then as if it had never been asked for.

        Raises:
            BackendError: the turn cannot be answered here.
        """
        ...

    def commit(self) -> None:
        """The turn is over and the open reply is the one that counts; nothing is fed any more."""


class Backend(Protocol):
    """Something that answers turns: the device, the cloud, another server, or a router over several of them."""

    name: str

    def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AbstractAsyncContextManager[Exchange]:
        """Begin an exchange. Entering does not wait for the network; leaving frees everything the turn holds.

        ``on_heard`` is called on the event loop with partial transcripts (``is_final=False``) while the user speaks.
        """
        ...
