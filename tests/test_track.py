"""A track reads one contender's answer ahead, within bounds, and tells its outlook what it saw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from routing.contender import Contender
from routing.errors import AtCapacity, BackendError, BackendUnavailable, InvalidRequest, UnsuitedTurn
from routing.outlook import Outlook
from routing.settings import RoutingSettings
from routing.track import Track
from routing.turns import Heard, TextDelta
from tests.contenders import AWAY, END, NEVER, TURN, Step, Timed, TimedExchange, sound
from tests.virtual_time import on_virtual_time

WORDS = Heard("hello there", is_final=True)
GONE = BackendUnavailable("gone")


class Diary(Outlook):
    """Writes down what it is told, without the moments."""

    def __init__(self) -> None:
        super().__init__("cloud", AWAY)
        self.notes: list[tuple[object, ...]] = []

    def note_response(self, speech_sec: float, seconds: float, now: float) -> None:
        self.notes.append(("response", speech_sec, round(seconds, 3)))

    def note_unanswered(self, speech_sec: float, waited_sec: float, now: float) -> None:
        self.notes.append(("unanswered", speech_sec, round(waited_sec, 3)))

    def note_let_go(self, now: float) -> None:
        self.notes.append(("let go",))

    def note_failure(self, now: float, *, retry_after_sec: float | None = None) -> None:
        self.notes.append(("failure", retry_after_sec))

    def note_success(self, now: float) -> None:
        self.notes.append(("success",))

    def note_throughput(self, audio_sec: float, seconds: float, now: float) -> None:
        self.notes.append(("throughput", round(audio_sec, 3), round(seconds, 3)))


@asynccontextmanager
async def reading(
    *steps: Step, is_wanted: bool = True, diary: Diary | None = None, held_sec: float = 8.0
) -> AsyncIterator[tuple[Track, TimedExchange]]:
    exchange = TimedExchange(TURN, steps, on_heard=lambda _: None)
    track = Track(
        Contender(Timed("cloud"), diary or Diary()),
        TURN,
        speech_sec=2.0,
        settings=RoutingSettings(held_events=8, held_sec=held_sec),
        is_wanted=is_wanted,
        on_commit=exchange.commit,
        on_moved=lambda: None,
    )
    async with asyncio.TaskGroup() as tasks:
        track.begin(tasks.create_task(track.read(exchange)))
        yield track, exchange
        track.close()


async def notes_of(*steps: Step, seconds: float = 1.0) -> list[tuple[object, ...]]:
    diary = Diary()
    async with reading(*steps, diary=diary):
        await asyncio.sleep(seconds)
    return diary.notes


@on_virtual_time
async def test_no_more_is_read_than_fits() -> None:
    async with reading("a", *[sound(0.1)] * 30, END) as (track, exchange):
        await asyncio.sleep(1)
        assert exchange.told == 8
        assert track.take() == TextDelta("a")
        await asyncio.sleep(1)
        assert exchange.told == 9
    async with reading(*[sound(1)] * 30, END, held_sec=3) as (track, exchange):
        await asyncio.sleep(1)
        assert exchange.told == 3


@on_virtual_time
async def test_a_track_without_room_is_ready_whatever_it_holds() -> None:
    async with reading(*"abcdefghijkl", sound(1), END) as (track, _):
        await asyncio.sleep(1)
        assert track.is_ready


@on_virtual_time
async def test_nothing_is_read_behind_the_words_until_it_is_wanted() -> None:
    async with reading(WORDS, "a", sound(1), END, is_wanted=False) as (track, exchange):
        await asyncio.sleep(1)
        assert (exchange.told, track.heard, track.is_ready) == (1, WORDS, False)
        track.want()
        await asyncio.sleep(1)
        assert track.is_ready


@on_virtual_time
async def test_the_outlook_learns_of_answers() -> None:
    assert await notes_of(0.3, "a", sound(1), END) == [("response", 2.0, 0.3), ("success",)]
    assert await notes_of(WORDS, NEVER, seconds=0.7) == [("unanswered", 2.0, 0.7)]
    assert await notes_of(0.3, sound(1), NEVER) == [("response", 2.0, 0.3), ("let go",)]


@on_virtual_time
async def test_the_outlook_learns_of_failures() -> None:
    for failure, note in (
        (GONE, [("failure", None)]),
        (AtCapacity("full", retry_after_sec=3), [("failure", 3)]),
        (ValueError("a mistake"), [("failure", None)]),
    ):
        assert await notes_of(0.3, failure) == note
    assert await notes_of(sound(1)) == [("response", 2.0, 0.0), ("failure", None)]


@on_virtual_time
async def test_what_is_wrong_with_a_turn_is_not_held_against_who_was_asked() -> None:
    for fault in (InvalidRequest("no such thing"), UnsuitedTurn("too long")):
        assert await notes_of(0.3, fault) == [("let go",)]


@on_virtual_time
async def test_the_outlook_learns_how_fast_sound_comes_once_nothing_holds_it_back() -> None:
    diary = Diary()
    async with reading(0.1, sound(1), 0.5, sound(1), 0.5, sound(1), END, diary=diary) as (track, _):
        await asyncio.sleep(0.2)
        track.commit()
        await asyncio.sleep(2)
    assert diary.notes[-1] == ("throughput", 2, 0.9)


@on_virtual_time
async def test_what_came_before_a_failure_can_still_be_told() -> None:
    async with reading("a", sound(1), GONE) as (track, _):
        await asyncio.sleep(1)
        assert track.take() == TextDelta("a")
        assert isinstance(track.fault, BackendError)
        assert not track.is_ready


@on_virtual_time
async def test_closing_rolls_the_reply_back_once() -> None:
    async with reading("a", NEVER) as (track, exchange):
        await asyncio.sleep(1)
        track.close()
        track.close()
        await track.settled()
        assert (exchange.rolled_back, exchange.is_replying) == (1, False)


@on_virtual_time
async def test_a_flood_of_words_ends_as_a_fault() -> None:
    async with reading(sound(1), "well, " * 4000, NEVER) as (track, _):
        await asyncio.sleep(1)
        assert isinstance(track.fault, BackendError)


@on_virtual_time
async def test_what_nobody_notices_does_not_break_a_silence() -> None:
    async with reading(0.1, sound(1), 0.4, "hm", 0.4, sound(0), 0.4, "", 0.4, NEVER) as (track, _):
        await asyncio.sleep(5)
        assert round(track.moved_at, 3) == 0.1
        assert [track.take(), track.take()][1] == TextDelta("hm")
        assert track.take() is None
