"""What the server told a client in one conversation, and what can be read from it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

type Event = Mapping[str, Any]

PATIENCE_SEC = 60.0  # for a machine with much else to do; no test waits this long where all is well


class Diary:
    """The server events of a conversation, as raw JSON objects, in order."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.events = list(events)
        self._written = asyncio.Event()

    def write(self, event: Event) -> None:
        self.events.append(event)
        self._written.set()

    async def until[T](self, found: Callable[[], T | None]) -> T:
        """The first value of ``found`` that is not None; it is asked again after every event."""
        try:
            async with asyncio.timeout(PATIENCE_SEC):
                while (value := found()) is None:
                    self._written.clear()
                    await self._written.wait()
        except TimeoutError:
            raise AssertionError(f"waited in vain; the server sent: {self.summary()}") from None
        return value

    # -- what is in it -----------------------------------------------------------------------------------------------

    def summary(self) -> str:
        return ", ".join(f"{count} {kind}" for kind, count in Counter(self.kinds()).items())

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    def of(self, kind: str, *, since: int = 0) -> list[Event]:
        return [event for event in self.events[since:] if event["type"] == kind]

    def heard(self) -> list[str]:
        """What the user said, as the server understood it."""
        return [event["transcript"] for event in self.of("conversation.item.input_audio_transcription.completed")]

    def answers(self) -> list[str]:
        """The words of every answer that came to its end."""
        return [text for event in self.of("response.done") if (text := answer(event["response"]))]

    def calls(self) -> list[Event]:
        """The tool calls, as conversation items."""
        items = [event["item"] for event in self.of("response.output_item.done")]
        return [item for item in items if item["type"] == "function_call"]

    def told(self, item_id: str) -> str:
        """All words of an answer, heard or not."""
        deltas = self.of("response.output_audio_transcript.delta")
        return "".join(event["delta"] for event in deltas if event["item_id"] == item_id)

    def kept(self, item_id: str) -> str:
        """The words of an item when it was last looked up."""
        items = [event["item"] for event in self.of("conversation.item.retrieved")]
        return words([item for item in items if item["id"] == item_id][-1])

    def unfinished(self) -> set[str]:
        """The ids of responses that began and never ended: what leaves an SDK waiting for ever."""
        begun = {event["response"]["id"] for event in self.of("response.created")}
        return begun - {event["response"]["id"] for event in self.of("response.done")}

    # -- what belongs to what was said last --------------------------------------------------------------------------

    def last_commit(self, since: int) -> int | None:
        """Where the last utterance ended, not looking further back than event number ``since``."""
        places = [place for place, kind in enumerate(self.kinds()) if kind == "input_audio_buffer.committed"]
        return next((place for place in reversed(places) if place >= since), None)

    def first_sound(self, since: int) -> Event | None:
        """The first audio of the reply to what was said since event number ``since``."""
        commit = self.last_commit(since)
        return None if commit is None else next(iter(self.of("response.output_audio.delta", since=commit)), None)

    def answer(self, since: int) -> str | None:
        """The complete answer to what was said since event number ``since``."""
        commit = self.last_commit(since)
        if commit is None:
            return None
        begun = {event["response"]["id"] for event in self.of("response.created", since=commit)}
        done = [event["response"] for event in self.of("response.done", since=commit)]
        return next((text for response in done if response["id"] in begun and (text := answer(response))), None)


def answer(response: Mapping[str, Any]) -> str:
    """The words of a response that was not cut off; empty where it only calls tools."""
    if response["status"] != "completed":
        return ""
    return " ".join(words(item) for item in response["output"] if item["type"] == "message")


def words(item: Mapping[str, Any]) -> str:
    """The text of a message item, spoken or written."""
    return " ".join(part.get("transcript") or part.get("text") or "" for part in item["content"])
