"""Conversations held twice: with our engine, and with the released package's own generators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deployments.engine.answer import Answer, Question
from deployments.engine.engine import Engine
from deployments.engine.loading import load_engine
from deployments.engine.sequence import Pace
from deployments.engine.settings import EngineSettings, SamplingSettings, SchedulerSettings
from routing.turns import AudioChunk, Message, ReplyEvent, Samples, TextDelta, Turn

GREEDY = SamplingSettings(audio_temperature=0)
SYSTEM = "Respond with interleaved text and audio."

type Items = list[int | tuple[int, ...]]  # tokens, and frames of codes


def settings_for(folder: Path, **changes: Any) -> EngineSettings:
    """Small and greedy, with room for sixteen replies of a minute."""
    defaults: dict[str, Any] = {
        "device": "cpu",
        "dtype": "float32",
        "slots": 32,
        "slot_positions": 1024,
        "sampling": GREEDY,
        "scheduler": scheduling(),
    }
    return EngineSettings(checkpoint=str(folder), **(defaults | changes))


def scheduling(**changes: Any) -> SchedulerSettings:
    """Nobody is refused for being late, and nobody rests."""
    return SchedulerSettings(
        **({"first_audio_target_sec": 60, "step_budget_share": 1, "maximum_ahead_sec": 60} | changes)
    )


def clip(seed: int, seconds: float = 0.6) -> Samples:
    """Noise: random weights understand it as well as speech."""
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)


def items_of(answer: Answer) -> Items:
    """What was sampled for a reply, as tokens and frames."""
    assert answer.lease is not None
    return [item if isinstance(item, int) else tuple(item.tolist()) for item in answer.lease.turn.items]


@dataclass
class Talk:
    """One session's side of a conversation with the engine: keeps the history as an edge would."""

    session_id: str
    history: list[Message] = field(default_factory=list)
    index: int = 0

    def question(self, speech: Samples | None, **changes: Any) -> Question:
        self.index += 1
        turn = Turn(
            session_id=self.session_id,
            turn_id=f"{self.session_id}-{self.index}",
            index=self.index,
            history=tuple(self.history),
            script=changes.pop("script", None),
        )
        return Question(turn=turn, speech=speech, **changes)

    def remember(self, said: str, events: Sequence[ReplyEvent]) -> None:
        self.history += [Message("user", said), Message("assistant", text_of(events).rstrip())]


def text_of(events: Sequence[ReplyEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def sound_of(events: Sequence[ReplyEvent]) -> Samples:
    chunks = [event.samples for event in events if isinstance(event, AudioChunk)]
    return np.concatenate(chunks) if chunks else np.zeros(0, np.float32)


class StockChat:
    """The same conversation with the package's own generator, which reads everything again for each turn."""

    def __init__(self, stock: Any, system: str = SYSTEM) -> None:
        import torch
        from liquid_audio import ChatState

        self._model, self._torch = stock.model, torch
        self._chat = ChatState(stock.processor, dtype=torch.float32)
        self._chat.new_turn("system")
        self._chat.add_text(system)
        self._chat.end_turn()

    def ask(self, question: Samples | str, *, limit: int, sequential: bool = False) -> Items:
        self._chat.new_turn("user")
        if isinstance(question, str):
            self._chat.add_text(question)
        else:
            self._chat.add_audio(self._torch.from_numpy(question)[None], 16_000)
        self._chat.end_turn()
        self._chat.new_turn("assistant")
        generate = self._model.generate_sequential if sequential else self._model.generate_interleaved
        made = list(generate(**self._chat, max_new_tokens=limit))
        self.remember(made)
        return [one.item() if one.numel() == 1 else tuple(one.tolist()) for one in made]

    def read(self, role: str, text: str) -> None:
        """Something said before, in words."""
        self._chat.new_turn(role)
        self._chat.add_text(text)
        self._chat.end_turn()

    def remember(self, made: list[Any]) -> None:
        """Append a reply, or what was heard of it, as the package's examples do."""
        torch = self._torch
        text = [one for one in made if one.numel() == 1]
        audio = [one for one in made if one.numel() > 1]
        self._chat.append(
            text=torch.stack(text, 1) if text else torch.zeros((1, 0), dtype=torch.long),
            audio_out=torch.stack(audio, 1) if audio else torch.zeros((8, 0), dtype=torch.long),
            modality_flag=torch.tensor([1 if one.numel() == 1 else 3 for one in made]),
        )
        self._chat.end_turn()


def steps_of(settings: EngineSettings, text_run: int, audio_run: int) -> int:
    """The longest reply that the settings allow, in tokens and frames."""
    return Pace(0.08, text_run, audio_run).steps_in(settings.maximum_reply_sec)


async def told(answer: Answer, *, released: bool = True) -> list[ReplyEvent]:
    """A reply to its end."""
    if released:
        answer.release()
    return [event async for event in answer.events()]


@asynccontextmanager
async def running(settings: EngineSettings) -> AsyncIterator[Engine]:
    """An engine, loaded away from the event loop."""
    async with await asyncio.to_thread(load_engine, settings) as engine:
        yield engine
