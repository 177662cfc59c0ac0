"""One reply of many: whoever speaks, the caller hears one voice, every word once, and an answer in every case."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

from routing.errors import BackendUnavailable
from routing.record import Switch
from routing.settings import RoutingSettings
from routing.turns import AudioChunk, Heard, Placement, Reminder, ReplyEnd, TextDelta, Tool, ToolCall
from tests.conftest import other_tasks
from tests.contenders import (
    AWAY,
    END,
    NEVER,
    SPEECH,
    TURN,
    Step,
    Timed,
    Told,
    in_order,
    listen,
    read,
    router_over,
    sound,
)
from tests.virtual_time import on_virtual_time

WORDS = Heard("hello there", is_final=True, end_of_sentence=1.0)
GONE = BackendUnavailable("gone")
FORECAST = ("It is sunny today, ", "with a light breeze. ", "Tomorrow it will rain.")


def device(*steps: Step, script: tuple[Step, ...] = ()) -> Timed:
    return Timed("device", 0.05, WORDS, *(steps or (0.1, "Device.", sound(1), END)), script=script)


def cloud(*steps: Step) -> Timed:
    return Timed("cloud", *(steps or (0.1, "Cloud.", sound(1), END)))


# -- what the user said ------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_one_understanding_of_the_words_is_told_and_it_is_the_devices() -> None:
    heard = Heard("yellow hair", is_final=True)
    told = await listen(device(), cloud(heard, 0.1, "Cloud.", sound(1), END))
    assert told.words == ["hello there"]
    assert told.voices == ["cloud"]


@on_virtual_time
async def test_where_the_device_understands_nothing_any_more_anothers_words_count() -> None:
    broken = Timed("device", 0.05, BackendUnavailable("no model"))
    told = await listen(broken, cloud(WORDS, 0.1, "Cloud.", sound(1), END))
    assert told.words == ["hello there"]
    assert told.voices == ["cloud"]


@on_virtual_time
async def test_where_no_word_was_said_nobody_else_answers() -> None:
    silence = Timed("device", 0.05, Heard("", is_final=True), END)
    far = cloud()
    told = await listen(silence, far)
    assert told.events == [Heard("", is_final=True), Placement("device", "nobody said a word"), END]
    assert far.rolled_back == 1


@on_virtual_time
async def test_sound_waits_for_the_words_for_a_while_because_there_may_be_none() -> None:
    late = Timed("device", 0.3, WORDS, 5, "Device.", sound(1), END)
    told = await listen(late, cloud())
    assert told.moment(Heard) == told.moment(Placement) == 0.2
    later = Timed("device", 2, Heard("", is_final=True), END)
    told = await listen(later, cloud())
    assert told.moment(Placement) == 0.5
    assert told.words == []  # too late to find that nobody had spoken
    assert told.got(ReplyEnd)


@on_virtual_time
async def test_words_that_come_after_the_answer_are_told_before_its_end() -> None:
    late = Timed("device", 2, WORDS, 5, "Device.", sound(1), END)
    told = await listen(late, cloud())
    assert [type(event) for event in told.events] == [Placement, TextDelta, AudioChunk, Heard, ReplyEnd]


@on_virtual_time
async def test_partial_words_come_from_the_device_or_whoever_is_left() -> None:
    assert await partials_from(device(), cloud()) == ["device"]
    assert await partials_from(Timed("device", opening=GONE), cloud()) == ["cloud"]


async def partials_from(*backends: Timed) -> list[str]:
    """What is passed on where each writes down its name."""
    told: list[Heard] = []
    async with router_over(*backends, told=Told()).open(TURN, on_heard=told.append):
        await asyncio.sleep(0.1)
        for backend in backends:
            for exchange in backend.exchanges:
                exchange.on_heard(Heard(backend.name, is_final=False))
    return [heard.text for heard in told]


# -- speculation -------------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_reply_that_was_asked_for_too_early_is_asked_for_again() -> None:
    near, far, told = device(), cloud(), Told()
    async with router_over(near, far, told=told).open(TURN, on_heard=lambda _: None) as exchange:
        exchange.feed(SPEECH)
        async with aclosing(exchange.reply()) as events:
            assert await anext(events) == WORDS
        exchange.feed(SPEECH)
        asyncio.get_running_loop().call_later(0.2, exchange.commit)
        await read(exchange, told)
    assert told.voices == ["cloud"]
    assert (near.asked, far.asked) == (2, 2)
    assert [len(backend.exchanges[0].chunks) for backend in (near, far)] == [2, 2]
    assert (near.rolled_back, far.rolled_back) == (1, 1)
    assert len(told.records) == 1


@on_virtual_time
async def test_what_the_policy_will_not_use_is_not_read_beyond_the_words() -> None:
    near = device(*[sound(0.2)] * 10, END)
    told = await listen(near, cloud(), settings=RoutingSettings(policy="cloud"))
    assert told.voices == ["cloud"]
    assert near.exchanges[0].told == 1
    assert told.record.outcome.waste == {}


@on_virtual_time
async def test_it_is_read_all_the_same_where_the_others_fail() -> None:
    near = device()
    told = await listen(near, cloud(GONE), settings=RoutingSettings(policy="cloud"))
    assert told.voices == ["device"]
    assert told.moment(AudioChunk) == 0.1


@on_virtual_time
async def test_a_turn_that_stays_on_the_device_by_policy_is_opened_nowhere_else() -> None:
    far = cloud()
    told = await listen(device(), far, settings=RoutingSettings(policy="device"))
    assert (told.voices, far.turns) == (["device"], [])


# -- what counts as an answer ------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_call_of_a_tool_is_an_answer_and_a_losers_has_no_effect() -> None:
    call = ToolCall("call_1", "lamp", "{}")
    turn = replace(TURN, tools=(Tool("lamp", "Switches the lamp.", {}),))
    told = await listen(device(call, END), cloud(0.2, "Cloud.", sound(1), END), turn=turn)
    assert not told.got(ToolCall)
    told = await listen(device(call, END), cloud(NEVER), turn=turn)
    assert told.got(ToolCall) == [call]
    assert told.got(ReplyEnd)


@on_virtual_time
async def test_a_losers_reminder_is_never_set() -> None:
    told = await listen(device(Reminder(60, "Tea!"), 0.05, "Set.", sound(1), END), cloud())
    assert told.got(Reminder) == []


@on_virtual_time
async def test_written_answers_begin_with_their_first_words() -> None:
    typed = replace(TURN, modality="text")
    told = await listen(device(0.1, "Device.", END), cloud(0.3, "Cloud", 2, ".", END), turn=typed)
    assert told.voices == ["cloud"]
    assert told.moment(TextDelta) == 0.2
    assert told.text == "Cloud."


# -- nobody waits for the impossible -----------------------------------------------------------------------------------


@on_virtual_time
async def test_when_nobody_begins_the_reply_fails_after_the_longest_patience() -> None:
    told = await listen(device(NEVER), cloud(NEVER))
    assert told.error is not None
    assert told.record.outcome.ended == "failed"
    assert other_tasks() == set()


@on_virtual_time
async def test_those_whom_nobody_chose_are_asked_where_the_chosen_fail() -> None:
    vendor = Timed("vendor", 0.2, "Vendor.", sound(1), END)
    told = await listen(device(GONE), cloud(GONE), vendor)
    assert told.voices == ["vendor"]


@on_virtual_time
async def test_half_an_answer_is_told_where_there_is_no_other() -> None:
    told = await listen(device("Half an", sound(0.5), 0.01, GONE))
    assert told.sound_sec == 0.5
    assert told.error is GONE


# -- when the speaker fails --------------------------------------------------------------------------------------------


@on_virtual_time
async def test_known_words_that_were_not_heard_are_said_by_the_device() -> None:
    near = device()
    told = await listen(near, cloud(0.1, "".join(FORECAST), sound(1.6), GONE))
    assert told.voices == ["cloud", "device"]
    assert near.turns[1].script == FORECAST[1] + FORECAST[2]
    assert told.text == "".join(FORECAST)  # each word once
    assert told.got(ReplyEnd)
    assert told.record.outcome.switches == (
        Switch(backend="device", instead_of="cloud", told_sec=1.6, why="unavailable"),
    )
    assert told.record.outcome.backend == "cloud"


@on_virtual_time
async def test_a_reply_that_had_only_begun_is_followed_by_the_other_answer() -> None:
    told = await listen(device(), cloud(0.1, "It is su", sound(0.4), GONE))
    assert told.voices == ["cloud", "device"]
    assert told.text == "It is su… Device."
    assert told.got(ReplyEnd)


@on_virtual_time
async def test_a_reply_of_which_nothing_more_is_known_ends_where_it_stopped() -> None:
    told = await listen(device(), cloud(0.1, "It is sunny today. Tomorrow", sound(1.9), GONE))
    assert told.voices == ["cloud"]
    assert told.got(ReplyEnd)
    assert told.record.outcome.ended == "told"


@on_virtual_time
async def test_a_speaker_that_stalls_is_followed_before_long() -> None:
    near = device()
    told = await listen(near, cloud(0.1, "".join(FORECAST), sound(1.6), NEVER), paced=True)
    assert told.voices == ["cloud", "device"]
    (first, second) = (at for event, at in zip(told.events, told.moments, strict=True) if isinstance(event, AudioChunk))
    assert round(second - first, 2) == 2.1  # all was played, then patience: meanwhile the device got ready


@on_virtual_time
async def test_a_stand_in_is_sent_away_where_the_speaker_goes_on() -> None:
    near = device()
    words = "".join(FORECAST)
    told = await listen(near, cloud(0.1, words, sound(1.6), 1.9, sound(3), END), paced=True)
    assert told.voices == ["cloud"]
    assert near.asked == 2
    assert near.committed == 0
    assert told.sound_sec == 4.6


@on_virtual_time
async def test_sound_that_is_late_but_not_too_late_goes_on() -> None:
    told = await listen(device(), cloud(0.1, "One, two. ", sound(1), 1.4, "Three.", sound(1), END), paced=True)
    assert told.voices == ["cloud"]
    assert told.sound_sec == 2


@on_virtual_time
async def test_a_slow_speaker_is_waited_for_where_nobody_could_go_on() -> None:
    told = await listen(device("One, two. ", sound(1), 4, "Three.", sound(1), END), cloud(GONE), paced=True)
    assert told.voices == ["device"]
    assert told.text == "One, two. Three."


@on_virtual_time
async def test_where_nobody_can_go_on_the_reply_fails_and_keeps_what_was_heard() -> None:
    told = await listen(cloud(0.1, "".join(FORECAST), sound(1.6), GONE))
    assert told.error is GONE
    assert told.sound_sec == 1.6
    assert told.record.outcome.ended == "failed"


@on_virtual_time
async def test_a_stand_in_that_fails_is_followed_by_the_next() -> None:
    vendor = Timed("vendor", NEVER, traits=replace(AWAY, scripts=True))
    near = device(script=(0.1, GONE))
    told = await listen(near, cloud(0.1, "".join(FORECAST), sound(1.6), GONE), vendor)
    assert told.voices == ["cloud", "vendor"]
    assert told.text == "".join(FORECAST)
    assert told.got(ReplyEnd)


# -- the record --------------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_the_record_tells_arrivals_and_waste() -> None:
    told = await listen(device(0.1, "Device.", sound(1), END), cloud(0.25, "Cloud.", sound(1), END))
    outcome = told.record.outcome
    assert {name: round(sec or 0, 3) for name, sec in outcome.arrivals.items()} == {"device": 0.15, "cloud": 0.25}
    assert outcome.first_sound_sec is not None
    assert round(outcome.first_sound_sec, 3) == 0.15
    assert list(outcome.waste) == ["device"]
    assert outcome.waste["device"].sound_sec == 1
    assert set(outcome.opened) == {"device", "cloud"}
    assert round(told.record.committed_after_sec, 3) == 0.1


@on_virtual_time
async def test_each_released_turn_leaves_one_record_however_it_ends() -> None:
    assert (await listen(device(), cloud())).record.outcome.ended == "told"
    assert (await ended_after(0.0)) == ["dropped"]
    assert (await ended_after(0.5)) == ["cut"]
    assert (await ended_after(-0.05)) == []


async def ended_after(seconds: float) -> list[str]:
    """The endings on record where the caller goes so long after the turn's end."""
    told = Told()
    router = router_over(device(NEVER), cloud(0.2, "Cloud.", sound(1), NEVER), told=told)

    async def turn() -> None:
        async with router.open(TURN, on_heard=lambda _: None) as exchange:
            exchange.feed(SPEECH)
            asyncio.get_running_loop().call_later(0.1, exchange.commit)
            await read(exchange, told)
            await asyncio.Event().wait()

    serving = asyncio.create_task(turn())
    await asyncio.sleep(0.1 + seconds + 0.01)
    serving.cancel()
    await asyncio.wait([serving])
    assert other_tasks() == set()
    return [record.outcome.ended for record in told.records]


@on_virtual_time
async def test_the_choice_is_made_when_the_turn_is_over_and_knows_what_is_ready() -> None:
    told = await listen(device(), cloud(NEVER), pause_sec=0.4, choose=in_order("cloud", "device", patience_sec=0.2))
    near, far = told.record.prospects
    assert (near.is_ready, far.is_ready) == (True, False)
    assert round(far.asked_ago_sec, 3) == 0.4
