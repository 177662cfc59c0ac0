"""What every session's ears share: the voice detector and the judge of complete turns, each on its own thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge_client.attention import TurnEndJudge
from edge_client.ears import Ears, VoiceDetector
from edge_client.endpointer import EndpointerSettings
from edge_client.models.thread import ModelThread
from routing.turns import Samples

if TYPE_CHECKING:
    from edge_client.models.library import Hosted, Library
    from edge_client.models.silero import SileroModel
    from edge_client.models.smart_turn import SmartTurn


@dataclass(frozen=True, slots=True)
class Hearing:
    """Makes ears for new sessions. ``new_detector`` gives a detector with the state of one stream."""

    new_detector: Callable[[], VoiceDetector]
    thread: ModelThread
    judge: TurnEndJudge

    @classmethod
    def from_library(cls, library: Library) -> Hearing:
        voice_activity = library.voice_activity
        return cls(voice_activity.model.detector, voice_activity.thread, SoundJudge(library.turn_end))

    @classmethod
    def from_voice_activity(cls, voice_activity: Hosted[SileroModel]) -> Hearing:
        """Ears without a judge of complete turns."""
        return cls(voice_activity.model.detector, voice_activity.thread, UndecidedJudge())

    def new_ears(self, settings: EndpointerSettings) -> Ears:
        return Ears(detector=self.new_detector(), thread=self.thread, settings=settings)


class UndecidedJudge:
    """Takes every pause for a doubtful one, for when no model judges them.

    The endpointer then waits ``unsure_hold_ms``, as it does for any verdict about the sound alone.
    """

    async def completeness(self, samples: Samples) -> float:  # noqa: ARG002
        return 0.5


class SoundJudge:
    """Judges the end of a turn by its sound."""

    def __init__(self, turn_end: Hosted[SmartTurn]) -> None:
        self._turn_end = turn_end

    async def completeness(self, samples: Samples) -> float:
        return await self._turn_end.thread.run(partial(self._turn_end.model.completeness, samples))
