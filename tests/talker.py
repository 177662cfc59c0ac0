"""A person who talks to the server through some client of its WebSocket."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterable

from edge_client.audio import float_to_pcm16
from tests.conversations import LISTENING_SEC, Line
from tests.diary import Diary, Event
from tests.loudspeaker import Loudspeaker
from tests.microphone import Microphone
from tests.spoken import spoken


class Talker:
    """Says lines into a microphone, hears the answers out, or cuts them short.

    ``send`` takes 24 kHz PCM; whoever reads the client's events hands them to `note`.
    """

    def __init__(self, send: Callable[[bytes], Awaitable[object]]) -> None:
        self.diary = Diary()
        self.microphone = Microphone(send)
        self.loudspeaker = Loudspeaker()

    def note(self, event: Event) -> None:
        self.diary.write(event)
        if event["type"] == "response.output_audio.delta":
            self.loudspeaker.play(event["item_id"], base64.b64decode(event["delta"]), now=now())

    async def talk(self, lines: Iterable[Line]) -> None:
        for line in lines:
            since = len(self.diary.events)
            await self.microphone.say(float_to_pcm16(await asyncio.to_thread(spoken, line.text)))
            await (self._listen_a_little(since) if line.cut_short else self._hear_out(since))

    async def _listen_a_little(self, since: int) -> None:
        await self.diary.until(lambda: self.diary.first_sound(since))
        await asyncio.sleep(LISTENING_SEC)

    async def _hear_out(self, since: int) -> None:
        await self.diary.until(lambda: self.diary.answer(since))
        await asyncio.sleep(self.loudspeaker.remaining_sec(now()))


def now() -> float:
    return asyncio.get_running_loop().time()
