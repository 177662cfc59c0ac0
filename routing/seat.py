"""A contender's place at one turn: its exchange, kept open by a task of its own so that its faults stay its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from routing.contender import Contender
from routing.settings import RoutingSettings
from routing.track import Fault, Track, as_fault, note_failure
from routing.turns import AudioChunk, Exchange, Heard, Turn


class Seat:
    """Opens an exchange and holds it until `leave`. Methods do not wait: what comes before it is open is kept.

    ``fault`` tells why there is none, or none any more; a reply that was being read has failed then too.
    """

    def __init__(
        self,
        contender: Contender,
        turn: Turn,
        *,
        settings: RoutingSettings,
        tasks: asyncio.TaskGroup,
        on_heard: Callable[[Seat, Heard], None],
        on_moved: Callable[[], None],
    ) -> None:
        self.contender = contender
        self.fault: Fault | None = None
        self._turn = turn
        self._settings = settings
        self._tasks = tasks
        self._on_heard = on_heard
        self._on_moved = on_moved
        self._exchange: Exchange | None = None
        self._unfed: list[AudioChunk] = []
        self._speech_sec = 0.0
        self._is_committed = False
        self._opened = asyncio.Event()
        self._leaving = asyncio.Event()
        self._track: Track | None = None
        tasks.create_task(self._sit())

    @property
    def name(self) -> str:
        return self.contender.name

    def feed(self, chunk: AudioChunk) -> None:
        self._speech_sec += chunk.duration_sec
        if self._exchange:
            self._guard(self._exchange.feed, chunk)
        elif not self.fault:
            self._unfed.append(chunk)

    def commit(self) -> None:
        self._is_committed = True
        if self._exchange:
            self._guard(self._exchange.commit)

    def ask(self, *, is_wanted: bool) -> Track:
        """Ask for a reply to what was fed so far, after the one before was rolled back."""
        before, self._track = (
            self._track,
            Track(
                self.contender,
                self._turn,
                speech_sec=self._speech_sec,
                settings=self._settings,
                is_wanted=is_wanted,
                on_commit=self.commit,
                on_moved=self._on_moved,
                known_fault=self._track.known_fault if self._track else None,
            ),
        )
        if before:
            before.close()
        self._track.begin(self._tasks.create_task(self._read(self._track, before)))
        return self._track

    def leave(self) -> None:
        """Close the reply and then the exchange, soon."""
        if self._track:
            self._track.close()
        self._leaving.set()

    # -- the work ------------------------------------------------------------------------------------------------------

    async def _sit(self) -> None:
        try:
            async with self.contender.backend.open(self._turn, on_heard=self._note_heard) as exchange:
                try:
                    self._begin(exchange)
                    await self._leaving.wait()
                finally:  # also where the exchange breaks down by itself
                    await self._stop_reading()
        except Exception as error:  # noqa: BLE001 the turn goes on without it
            self._fail(error)

    def _begin(self, exchange: Exchange) -> None:
        self._exchange = exchange
        for chunk in self._unfed:
            self._guard(exchange.feed, chunk)
        self._unfed.clear()
        if self._is_committed:
            self._guard(exchange.commit)
        self._opened.set()

    async def _stop_reading(self) -> None:
        if self._track:
            self._track.stop_reading()
            await self._track.settled()

    async def _read(self, track: Track, before: Track | None) -> None:
        if before:
            await before.settled()
        await self._opened.wait()
        if self._exchange:
            await track.read(self._exchange)
        elif self.fault:
            track.fail(self.fault)

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    def _guard[*P](self, method: Callable[[*P], None], *arguments: *P) -> None:
        try:
            method(*arguments)
        except Exception as error:  # noqa: BLE001 the other contenders are fed all the same
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.fault = as_fault(error, self.name)
        self._exchange = None
        self._unfed.clear()
        self._opened.set()
        if self._track and self._track.over_at is None:
            self._track.fail(self.fault)
        else:
            note_failure(self.contender, self.fault)
        self._on_moved()

    def _note_heard(self, heard: Heard) -> None:
        self._on_heard(self, heard)
