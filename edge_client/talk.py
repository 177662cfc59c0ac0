"""A conversation at this machine: its microphone and loudspeaker as the caller of a session in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from rich.console import Console

from edge_client.audio import Resampler
from edge_client.caller.captions import Captions
from edge_client.mouth import PacedMouth
from edge_client.realtime.edge import Edge
from edge_client.realtime.passage import Passage
from edge_client.realtime.session_config import SessionConfig
from edge_client.settings import EdgeSettings
from edge_client.soundcard import SOUNDCARD_RATE, OpenStream, Soundcard
from edge_client.terminal import telling
from routing.turns import SPEECH_SAMPLE_RATE

SESSION_ID = "talk"


async def talk(settings: EdgeSettings, open_stream: OpenStream, console: Console, *, echo: bool = True) -> None:
    """Load the models and converse until Ctrl-C.

    Raises:
        ModelError: the models are not there.
    """
    from edge_client.realtime.program import open_edge  # brings every model's runtime along

    async with AsyncExitStack() as stack:
        with telling(console) as tell:
            edge = await stack.enter_async_context(open_edge(settings, progress=tell))
        console.print("Speak. Ctrl-C ends the conversation.")
        await converse(edge, open_stream, echo=echo, print_line=console.print)


async def converse(edge: Edge, open_stream: OpenStream, *, echo: bool, print_line: Callable[[str], None]) -> None:
    """Join the devices to a new session of ``edge`` until cancelled."""
    mouth = PacedMouth()
    captions = Captions(print_line)
    with edge.place():
        async with edge.conversation(
            Passage(session_id=SESSION_ID, config=SessionConfig()),
            mouth=mouth,
            sound="rtp",
            send=captions.show,
            let_go=lambda: None,
        ) as dialogue:
            ear = Resampler(SOUNDCARD_RATE, SPEECH_SAMPLE_RATE)
            card = Soundcard(hear=lambda samples: dialogue.session.hear(ear.feed(samples)), read=mouth.read)
            async with card.running(open_stream, echo=echo):
                await asyncio.Event().wait()
