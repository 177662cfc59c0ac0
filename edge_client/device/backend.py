"""The device backend: the whole cascade on this machine's own processor.

Moonshine writes down what is said; tools, skills and then SmolLM2 decide what to answer; Hibari speaks it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from edge_client.device.arguments import FORM_EXAMPLES
from edge_client.device.calls import call
from edge_client.device.decider import Decider
from edge_client.device.exchange import DeviceExchange
from edge_client.device.listener import HostedTranscriber, Transcriber
from edge_client.device.matcher import Embedder, HostedEmbedder, Matcher
from edge_client.device.prompt import prompt_for
from edge_client.device.settings import DeviceSettings
from edge_client.device.skills import SkillRegistry
from edge_client.device.tool_caller import ToolCaller
from routing.own_tasks import own_tasks
from routing.turns import Heard, Turn

if TYPE_CHECKING:
    from edge_client.models.library import AnsweringLibrary


def local_time() -> datetime:
    return datetime.now().astimezone()


class DeviceBackend:
    """Answers every session's turns with the same models, one thread each; see `routing.turns.Backend`.

    Speech is written down by ``transcriber`` and texts embedded by ``embedder``; without them, by the models of the
    library, for one turn after the other.
    """

    def __init__(
        self,
        *,
        library: AnsweringLibrary,
        skills: SkillRegistry,
        settings: DeviceSettings,
        clock: Callable[[], datetime] = local_time,
        name: str = "device",
        transcriber: Transcriber | None = None,
        embedder: Embedder | None = None,
    ) -> None:
        self.name = name
        self._library = library
        self._transcriber = transcriber or HostedTranscriber(library.speech_to_text)
        matcher = Matcher(embedder or HostedEmbedder(library.embedder))
        self._decider = Decider(
            matcher=matcher,
            tools=ToolCaller(matcher, library.language),
            skills=skills,
            skill_likeness=settings.skill_likeness,
            clock=clock,
        )

    async def prepare(self) -> None:
        """Do what would else be done in the first turn. Optional; takes two seconds or less.

        Raises:
            BackendError: a model failed.
        """
        reading = (self._read(opening) for opening in (FORM_EXAMPLES, prompt_for(()).opening))
        await asyncio.gather(self._decider.learn(), *reading)

    async def _read(self, opening: str) -> None:
        await call(self._library.language, lambda model: model.prefill(opening))

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[DeviceExchange]:
        """Leaving drops what still waits for a model; see `routing.turns.Backend`."""
        async with own_tasks() as tasks:
            exchange = DeviceExchange(
                turn,
                library=self._library,
                transcriber=self._transcriber,
                decider=self._decider,
                tasks=tasks,
                on_heard=on_heard,
            )
            listening = tasks.create_task(exchange.listen())
            try:
                yield exchange
            finally:
                listening.cancel()
