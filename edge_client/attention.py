"""The turn that is being heard: follows the endpointer's signals until the turn is over, or was none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from edge_client.backchannel import is_backchannel
from edge_client.ears import Ears, HeardFrame
from edge_client.endpointer import (
    EndpointSignal,
    SpeechDoubtful,
    SpeechDropped,
    SpeechOnset,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    TurnEnded,
)
from edge_client.floor import Floor, LiveTurn
from edge_client.mouth import Mouth
from edge_client.session_events import Emit, UserHeard, UserStarted, UserStopped
from edge_client.session_options import SessionOptions
from edge_client.turn_story import Interruption, Judgement
from routing.turns import SPEECH_SAMPLE_RATE, Heard, Samples

logger = logging.getLogger(__name__)


class TurnEndJudge(Protocol):
    """Says how complete a turn sounds, from its samples at 16 kHz."""

    async def completeness(self, samples: Samples) -> float: ...


class Attention:
    """Gives its ear to one caller, and gives up the floor to them.

    A turn is opened at its first sound, begun to be answered at each pause, and handed to ``on_turn`` when it is over.
    ``options`` tells the caller's wishes of the moment; ``new_turn`` is told when its first sound arrived.
    """

    def __init__(
        self,
        *,
        ears: Ears,
        judge: TurnEndJudge,
        mouth: Mouth,
        floor: Floor,
        emit: Emit,
        options: Callable[[], SessionOptions],
        new_turn: Callable[[float], LiveTurn],
        on_turn: Callable[[LiveTurn], None],
    ) -> None:
        self._ears = ears
        self._judge = judge
        self._mouth = mouth
        self._floor = floor
        self._emit = emit
        self._options = options
        self._new_turn = new_turn
        self._on_turn = on_turn
        self._heard: LiveTurn | None = None
        self._judgement: asyncio.Task[None] | None = None
        self._interruption: Interruption | None = None
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def taken(self) -> bool:
        """Whether a turn is being heard."""
        return self._heard is not None

    async def quiet(self) -> None:
        """Return when no turn is being heard."""
        await self._quiet.wait()

    def clear(self) -> None:
        """Forget what the user is saying."""
        self._follow(self._ears.endpointer.clear())

    def commit(self) -> bool:
        """End the user's turn now; False where none was begun."""
        signals = self._ears.endpointer.commit()
        self._follow(signals)
        return bool(signals)

    async def listen(self) -> None:
        """Follow the microphone until cancelled."""
        async with aclosing(self._ears.frames()) as frames:
            async for frame in frames:
                self._attend(frame)

    def _attend(self, frame: HeardFrame) -> None:
        if self._heard:
            self._heard.utterance.feed(frame.samples)
        self._follow(frame.signals)

    def _follow(self, signals: Sequence[EndpointSignal]) -> None:
        for signal in signals:
            self._react(signal)

    def _react(self, signal: EndpointSignal) -> None:
        match signal, self._heard:
            case SpeechOnset(at=at), _:
                self._open_turn(at)
            case SpeechDropped(), turn:
                self._drop_turn(turn)
            case SpeechDoubtful(), LiveTurn() as turn:
                turn.doubtful = True
                turn.utterance.begin()
            case SpeechStarted(at=at), LiveTurn() as turn:
                self._start_turn(turn, at)
            case SpeechPaused(), LiveTurn() as turn:
                self._pause_turn(turn)
            case SpeechResumed(), LiveTurn() as turn:
                self._resume_turn(turn)
            case TurnEnded(), LiveTurn() as turn:
                self._end_turn(turn, signal)

    # -- a spoken turn, signal by signal -----------------------------------------------------------------------------

    def _open_turn(self, at: int) -> None:
        arrived = self._ears.arrived_at(at)
        if self._options().interrupt_response:
            self._mouth.pause()
            self._interruption = Interruption(arrived, _now())
        self._quiet.clear()
        self._heard = self._new_turn(arrived)
        for frame in self._ears.pre_roll:
            self._heard.utterance.feed(frame)

    def _drop_turn(self, turn: LiveTurn | None) -> None:
        self._leave_turn()
        self._mouth.resume()
        if turn:
            turn.drop()
        if turn and turn.started:
            self._emit(UserStopped(turn.item_id, _milliseconds(self._ears.endpointer.position)))

    def _leave_turn(self) -> None:
        self._heard = None
        self._forget_judgement()
        self._quiet.set()

    def _start_turn(self, turn: LiveTurn, at: int) -> None:
        turn.started = True
        turn.doubtful = False
        self._emit(UserStarted(turn.item_id, _milliseconds(at)))
        if self._options().interrupt_response:
            self._floor.interrupt("turn_detected", self._interruption)
        self._mouth.resume()

    def _pause_turn(self, turn: LiveTurn) -> None:
        turn.story.pauses += 1
        turn.utterance.begin()
        if self._options().endpointer.mode == "semantic":
            self._judgement = self._floor.spawn(self._judge_pause(turn, turn.utterance.audio))

    async def _judge_pause(self, turn: LiveTurn, audio: Samples) -> None:
        begin = _now()
        try:
            completeness = await self._judge.completeness(audio)
        except Exception:  # the pause then lasts as long as one that nobody judged
            logger.exception("the end of a turn could not be judged")
        else:
            turn.story.judgements.append(Judgement(begin, _now(), completeness))
            self._ears.endpointer.score_audio(completeness)

    def _forget_judgement(self) -> None:
        if self._judgement:
            self._judgement.cancel()
            self._judgement = None

    def _resume_turn(self, turn: LiveTurn) -> None:
        self._forget_judgement()
        turn.doubtful = False
        turn.story.resumes += 1
        turn.utterance.roll_back()

    def _end_turn(self, turn: LiveTurn, end: TurnEnded) -> None:
        heard = turn.utterance.heard
        if heard and not heard.text:
            self._drop_turn(turn)  # it sounded like speech, but nobody said a word
            return
        self._leave_turn()
        turn.story.end_reason = end.reason
        turn.story.speech_end = self._ears.arrived_at(end.speech_end)
        self._emit(UserStopped(turn.item_id, _milliseconds(end.at)))
        self._on_turn(turn)

    # -- what is understood of it ------------------------------------------------------------------------------------

    def note_words(self, turn: LiveTurn, heard: Heard) -> None:
        """Take what a backend understood of a turn, if it is the one being heard."""
        if turn is not self._heard:
            return
        if heard.is_final:
            self._weigh(turn, heard)
        elif turn.started:
            self._emit(UserHeard(turn.item_id, heard.text, False, turn.utterance.duration_sec))

    def _weigh(self, turn: LiveTurn, heard: Heard) -> None:
        """Let the words speak on whether the turn is one, and whether it is over."""
        endpointer = self._ears.endpointer
        if heard.end_of_sentence is not None:
            turn.story.text_score = heard.end_of_sentence
            endpointer.score_text(heard.end_of_sentence)
        if turn.doubtful:
            real = heard.text and not is_backchannel(heard.text)
            self._follow(endpointer.confirm() if real else endpointer.reject())


def _now() -> float:
    return asyncio.get_running_loop().time()


def _milliseconds(position: int) -> int:
    return position * 1000 // SPEECH_SAMPLE_RATE
