"""One turn at a replica: messages of the wire go in, an exchange of the model's backend answers, messages come out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import aclosing

from routing.refusal import refusal
from routing.telemetry.logs import speak_of_turn
from routing.turns import Backend, Exchange, ReplyEvent, Turn
from routing.wire import Ask, Commit, Message, RollBack, Speech, Told, encode

WHOLE_TURN = 0  # the number of what belongs to no attempt


class ServedTurn:
    """Answers as often as it is asked to, until the committed answer has been told.

    Neither queue has a bound of its own. What comes in is bounded by the longest turn that the ingress lets through,
    what goes out by the backend: it holds back an answer that is not committed, and one that is has a longest length.
    ``on_error`` hears of whatever is told as a refusal.
    """

    def __init__(self, turn: Turn, backend: Backend, *, on_error: Callable[[Exception], None]) -> None:
        self._turn = turn
        self._backend = backend
        self._on_error = on_error
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: list[bytes] = []
        self._news = asyncio.Event()
        self._answering: asyncio.Task[None] | None = None

    def take(self, messages: Iterable[Message]) -> None:
        """What the caller's side says next."""
        for message in messages:
            self._inbox.put_nowait(message)

    async def told(self) -> AsyncGenerator[list[bytes]]:
        """What there is to tell, encoded: all that came since the last time, at once. Ends with the turn.

        Closing it cancels the turn, wherever it stands.
        """
        serving = asyncio.create_task(self._serve())
        serving.add_done_callback(lambda _: self._news.set())
        try:
            while not serving.done() or self._outbox:
                await self._news.wait()
                self._news.clear()
                if self._outbox:
                    messages, self._outbox = self._outbox, []
                    yield messages
        finally:
            serving.cancel()
            await asyncio.wait([serving])

    # -- the work ------------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        speak_of_turn(self._turn.trace_context, turn_id=self._turn.turn_id, session_id=self._turn.session_id)
        try:
            async with self._backend.open(self._turn, on_heard=lambda heard: self._tell(WHOLE_TURN, heard)) as exchange:
                try:
                    await self._converse(exchange)
                finally:
                    await self._stop_answering()
        except Exception as error:  # noqa: BLE001  whatever it is, it ends this turn only
            self._refuse(WHOLE_TURN, error)

    async def _converse(self, exchange: Exchange) -> None:
        while True:
            match await self._inbox.get():
                case Speech(chunk):
                    exchange.feed(chunk)
                case Ask(attempt):
                    await self._stop_answering()
                    self._answering = _begun(self._answer(exchange, attempt))
                case RollBack():
                    await self._stop_answering()
                case Commit():
                    exchange.commit()
                    break
        if self._answering is not None:
            await self._answering

    async def _answer(self, exchange: Exchange, attempt: int) -> None:
        try:
            async with aclosing(exchange.reply()) as events:
                async for event in events:
                    self._tell(attempt, event)
        except Exception as error:  # noqa: BLE001  an attempt that fails may be followed by another
            self._refuse(attempt, error)

    async def _stop_answering(self) -> None:
        if self._answering is not None:
            self._answering.cancel()
            await asyncio.wait([self._answering])
            self._answering = None

    # -- telling -------------------------------------------------------------------------------------------------------

    def _tell(self, attempt: int, event: ReplyEvent) -> None:
        self._send(Told(attempt, event))

    def _refuse(self, attempt: int, error: Exception) -> None:
        self._on_error(error)
        self._send(refusal(attempt, error))

    def _send(self, message: Message) -> None:
        self._outbox.append(encode(message))
        self._news.set()


def _begun(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
    """A task whose first step is done already: it answers what was fed before, and nothing of what comes with it."""
    return asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)
