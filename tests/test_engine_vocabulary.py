"""What is read of a reply while it comes are whole characters, and never a control token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from deployments.engine.vocabulary import Vocabulary


def byte_level() -> Tokenizer:
    """Each byte of a text is a token, but for a few that are often together, and control tokens."""
    symbols = sorted(ByteLevel.alphabet())
    vocabulary = {symbol: index for index, symbol in enumerate(symbols)}
    merges = [("Ġ", "a"), ("t", "h"), ("a", "ã")]
    vocabulary |= {first + second: 256 + index for index, (first, second) in enumerate(merges)}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([AddedToken("<|im_end|>", special=True, normalized=False)])
    tokenizer.add_tokens([AddedToken("<|text_end|>", special=False, normalized=False)])
    return tokenizer


TOKENIZER = byte_level()
VOCABULARY = Vocabulary(TOKENIZER)
A_AND_A_THIRD = TOKENIZER.encode("aこ").ids[0]  # one token: a, and the first of the three bytes of こ


def deltas(ids: list[int]) -> list[str]:
    stream = VOCABULARY.text_stream()
    return [*map(stream.feed, ids), stream.flush()]


@pytest.mark.parametrize("text", ["Hello there, friend!", "Hi 😀 you 👩‍👩‍👧", "こんにちは、世界。", "naïve\n\tçà", ""])
def test_a_text_comes_back_in_whole_characters(text: str) -> None:
    parts = deltas(VOCABULARY.encode(text))
    assert "".join(parts) == text
    assert all("\ufffd" not in part for part in parts)


def test_words_come_with_their_own_tokens() -> None:
    assert deltas(VOCABULARY.encode("is a😀")) == ["i", "s", " a", "", "", "", "😀", ""]


@pytest.mark.parametrize("mark", ["<|im_end|>", "<|text_end|>"])
def test_control_tokens_are_read_by_name_and_never_shown(mark: str) -> None:
    ids = VOCABULARY.encode(f"a{mark}b")
    assert len(ids) == 3
    assert deltas(ids) == ["a", "", "b", ""]


def test_a_character_that_was_not_finished_is_dropped_at_the_end() -> None:
    half = VOCABULARY.encode("世")[:2]
    assert deltas([*VOCABULARY.encode("a"), *half]) == ["a", "", "", ""]


def test_what_stands_before_an_unfinished_character_in_the_same_token_is_not_lost() -> None:
    assert deltas([A_AND_A_THIRD]) == ["", "a"]
    assert deltas([A_AND_A_THIRD, *VOCABULARY.encode("こ")[1:]]) == ["", "", "aこ", ""]


def test_flushing_twice_says_nothing_twice() -> None:
    stream = VOCABULARY.text_stream()
    stream.feed(A_AND_A_THIRD)
    assert (stream.flush(), stream.flush()) == ("a", "")


@given(ids=st.lists(st.integers(0, 260), max_size=30))
def test_whatever_a_model_samples_reads_as_the_whole_does(ids: list[int]) -> None:
    shown = [number for number in ids if number < 259]
    whole = TOKENIZER.decode(shown)
    parts = deltas(ids)
    assert "".join(parts).rstrip("\ufffd") == whole.rstrip("\ufffd")
