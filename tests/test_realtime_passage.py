"""A session written as bytes and read again: nothing is lost but what finds no room, and that from the far end."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.conversation import Conversation, Item, MessageItem, SpokenText, ToolCallItem, ToolResultItem
from edge_client.past import Past, Promise
from edge_client.realtime.keys import Grant
from edge_client.realtime.passage import MOST_BYTES, MOST_PLAIN_BYTES, Passage, pack, unpack
from edge_client.realtime.session_config import SessionConfig
from routing.errors import InvalidRequest
from routing.turns import ToolCall, ToolResult

NOW = 1_700_000_000.0


def passage(*items: Item, **changes: object) -> Passage:
    fields = {"session_id": "rtc_1", "config": SessionConfig(), "past": Past(items=items, turns=3)}
    return Passage(**fields | changes)  # type: ignore[arg-type]


def message(number: int, role: str = "user", text: str | None = "hello", **fields: object) -> MessageItem:
    pieces = [] if text is None else [SpokenText(text)]
    return MessageItem(id=f"item_{number}", role=role, medium="audio", pieces=pieces, **fields)  # type: ignore[arg-type]


def carried(given: Passage) -> Passage:
    packed = pack(given, now=NOW)
    assert packed
    assert len(packed) <= MOST_BYTES
    return unpack(packed, now=NOW)


def long_text(seed: int, words: int) -> str:
    """Words that do not deflate much better than talk."""
    dice = random.Random(seed)
    return " ".join(f"{dice.randrange(16**4):x}" for _ in range(words))


def test_all_that_matters_travels() -> None:
    given = passage(
        message(1, "system", "be brief"),
        message(2, "user", None, privacy="device_only"),
        message(3, "assistant", "it is", samples=24_000, status="incomplete"),
        ToolCallItem(id="item_4", call=ToolCall("call_1", "look", "{}"), privacy="device_only"),
        ToolResultItem(id="item_5", result=ToolResult("call_1", "nothing there"), privacy="device_only"),
        config=SessionConfig().updated({"instructions": "in French", "antiphon": {"privacy": "device_only"}}),
        grant=Grant("secret-1234", is_operator=False, issuer="key-12345678"),
        serial=4,
        lasted_sec=1234.5,
        connection={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    )
    assert carried(given) == given


@settings(max_examples=30)
@given(st.lists(st.text(max_size=40), max_size=12))
def test_words_arrive_as_they_were_said(texts: list[str]) -> None:
    given_items = passage(*(message(number, "user", text) for number, text in enumerate(texts)))
    assert carried(given_items) == given_items


def test_half_a_character_keeps_no_session_here() -> None:
    (item,) = carried(passage(message(1, text="cut off \ud83d"))).past.items
    assert isinstance(item, MessageItem)
    assert item.text == "cut off ?"


def test_a_promise_comes_closer_on_the_way() -> None:
    packed = pack(passage(past=Past(promises=(Promise(60.0, "tea"), Promise(2.0, "now")))), now=NOW)
    assert packed
    assert unpack(packed, now=NOW + 5.0).past.promises == (Promise(55.0, "tea"), Promise(-3.0, "now"))


def test_of_a_long_talk_the_oldest_turns_stay_behind_and_the_instructions_do_not() -> None:
    talk = [message(0, "system", "be brief")]
    for number in range(1, 400, 2):
        talk += [
            message(number, "user", long_text(number, 50)),
            message(number + 1, "assistant", long_text(-number, 90)),
        ]
    items = carried(passage(*talk)).past.items
    assert 20 < len(items) < len(talk)
    assert items == (talk[0], *talk[-len(items) + 1 :])
    assert isinstance(items[1], MessageItem)
    assert items[1].role == "user"


def test_a_result_travels_with_its_call() -> None:
    turns: list[Item] = []
    for number in range(40):
        call, result = ToolCall(f"call_{number}", "look", "{}"), ToolResult(f"call_{number}", long_text(number, 500))
        turns += [message(3 * number), ToolCallItem(id=f"item_{3 * number + 1}", call=call)]
        turns.append(ToolResultItem(id=f"item_{3 * number + 2}", result=result))
    items = carried(passage(*turns)).past.items
    assert 0 < len(items) < len(turns)
    assert isinstance(items[0], MessageItem)


def test_what_deflates_to_nothing_is_bounded_all_the_same() -> None:
    talk = [message(number, "user", "a" * 100_000) for number in range(30)]
    items = carried(passage(*talk)).past.items
    assert sum(len(item.text or "") for item in items if isinstance(item, MessageItem)) <= MOST_PLAIN_BYTES
    assert len(items) == 10


def test_settings_or_a_last_turn_without_room_make_a_session_stay() -> None:
    tools = [{"type": "function", "name": "look", "description": long_text(1, 20_000)}]
    assert pack(passage(config=SessionConfig().updated({"tools": tools})), now=NOW) is None
    assert pack(passage(message(1), message(2, "user", long_text(2, 20_000))), now=NOW) is None


def test_another_version_is_told_from_this_one() -> None:
    with pytest.raises(InvalidRequest, match="expected a ticket of version 1, got 2") as fault:
        unpack(b"\2{}", now=NOW)
    assert fault.value.code == "ticket_version"


# -- what a conversation lets go ---------------------------------------------------------------------------------------


def test_only_the_words_that_were_heard_leave() -> None:
    spoken = MessageItem(id="item_1", role="assistant", medium="audio")
    for word in ("one two ", "three four"):
        spoken.append(word)
        spoken.samples += 24_000
    conversation = Conversation([spoken])
    conversation.truncate("item_1", 24_000)
    (left,) = conversation.settled()
    assert left == MessageItem(
        id="item_1",
        role="assistant",
        medium="audio",
        status="incomplete",
        pieces=[SpokenText("one two")],
        samples=24_000,
    )
    assert left is not spoken


def test_a_call_waits_for_its_result_or_for_the_next_words_of_the_user() -> None:
    call, result = ToolCall("call_1", "look", "{}"), ToolResult("call_1", "a cat")
    asked: list[Item] = [message(1), ToolCallItem(id="item_2", call=call)]
    talks = [asked, [*asked, message(3)], [*asked, ToolResultItem(id="item_3", result=result)]]
    assert [Conversation(talk).awaits_tool for talk in talks] == [True, False, False]
