"""What was said so far, and what of it was heard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.conversation import Conversation, MessageItem, SpokenText, ToolCallItem, ToolResultItem
from routing.errors import InvalidRequest
from routing.turns import Message, ToolCall, ToolResult

SECOND = 24_000


def spoken(*pieces: tuple[str, int]) -> MessageItem:
    """An assistant's message of pieces of text, each with the samples that speak it."""
    item = MessageItem(id="item_a", role="assistant", medium="audio")
    for text, samples in pieces:
        item.append(text)
        item.samples += samples
    return item


def typed(item_id: str, text: str) -> MessageItem:
    return MessageItem(id=item_id, role="user", medium="text", pieces=[SpokenText(text)])


def test_a_truncated_message_keeps_whole_words_that_were_heard() -> None:
    conversation = Conversation()
    conversation.add(spoken(("Well, ", SECOND), ("that is a long story.", 5 * SECOND)))
    conversation.truncate("item_a", 3 * SECOND)
    assert conversation.history() == (Message("assistant", "Well, that is"),)


def test_a_later_truncation_may_know_better() -> None:
    conversation = Conversation()
    conversation.add(spoken(("one two three four", 4 * SECOND)))
    conversation.truncate("item_a", SECOND)
    conversation.truncate("item_a", 3 * SECOND)
    assert conversation.history() == (Message("assistant", "one two three"),)


def test_a_message_cut_before_its_first_word_is_no_history() -> None:
    conversation = Conversation()
    conversation.add(spoken(("one two", SECOND)))
    conversation.truncate("item_a", 0)
    assert conversation.history() == ()


def test_what_is_private_is_history_of_private_turns_only() -> None:
    conversation = Conversation()
    call, result = ToolCall("call_1", "balance", "{}"), ToolResult("call_1", "12")
    conversation.add(typed("a", "hello"))
    conversation.add(MessageItem(id="b", role="user", medium="text", pieces=[SpokenText("my balance?")]))
    conversation.add(ToolCallItem(id="c", call=call, privacy="device_only"))
    conversation.find("b").privacy = "device_only"
    conversation.add(ToolResultItem(id="d", result=result))
    assert conversation.last_privacy == "device_only"
    assert conversation.history() == (Message("user", "hello"),)
    secret = (Message("user", "hello"), Message("user", "my balance?"), call, result)
    assert conversation.history(privacy="device_only") == secret


@given(heard=st.integers(0, 10 * SECOND))
def test_what_was_heard_is_a_beginning_of_what_was_said(heard: int) -> None:
    item = spoken(("One, ", SECOND), ("two three four. ", 2 * SECOND), ("Five six.", 3 * SECOND))
    text = item.text_heard(heard)
    assert item.text
    assert item.text.startswith(text)
    assert (text == item.text) == (heard >= 6 * SECOND)


def test_truncation_beyond_the_end_is_refused_with_both_lengths() -> None:
    conversation = Conversation()
    conversation.add(spoken(("one two", SECOND)))
    with pytest.raises(InvalidRequest, match=r"at most 1000.*got 1500") as refusal:
        conversation.truncate("item_a", SECOND * 3 // 2)
    assert refusal.value.param == "audio_end_ms"


def test_an_end_rounded_up_to_a_whole_millisecond_is_the_end() -> None:
    conversation = Conversation()
    conversation.add(item := spoken(("one two", SECOND + 1)))
    conversation.truncate("item_a", 1001 * SECOND // 1000)
    assert item.heard == SECOND + 1


def test_only_spoken_replies_can_be_truncated() -> None:
    conversation = Conversation()
    conversation.add(typed("item_u", "hello"))
    with pytest.raises(InvalidRequest, match="spoken message"):
        conversation.truncate("item_u", 0)


def test_items_keep_their_order() -> None:
    conversation = Conversation()
    conversation.add(typed("b", "second"))
    conversation.add(typed("a", "first"), after="root")
    conversation.add(typed("d", "fourth"))
    conversation.add(typed("c", "third"), after="b")
    assert [entry.text for entry in conversation.history() if isinstance(entry, Message)] == [
        "first",
        "second",
        "third",
        "fourth",
    ]
    assert conversation.previous_id("c") == "b"
    assert conversation.previous_id("a") is None
    assert conversation.previous_id("deleted") is None


def test_tools_are_part_of_the_history() -> None:
    conversation = Conversation()
    call, result = ToolCall("call_1", "add", "{}"), ToolResult("call_1", "3")
    conversation.add(ToolCallItem(id="x", call=call))
    conversation.add(ToolResultItem(id="y", result=result))
    assert conversation.history() == (call, result)


@pytest.mark.parametrize("misuse", ["find", "delete"])
def test_an_unknown_item_is_named(misuse: str) -> None:
    with pytest.raises(InvalidRequest, match="'item_x'") as refusal:
        getattr(Conversation(), misuse)("item_x")
    assert refusal.value.code == "item_not_found"


def test_an_id_is_given_once() -> None:
    conversation = Conversation()
    conversation.add(typed("a", "hello"))
    with pytest.raises(InvalidRequest, match="'a'"):
        conversation.add(typed("a", "again"))
