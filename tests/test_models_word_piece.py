"""Text is cut into BERT's pieces as its own tokenizer cuts it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.models.word_piece import MAX_TOKENS, WordPiece, split_words
from routing.errors import ModelError
from tests.model_files import model_store

PIECES = "[UNK] [CLS] [SEP] play ##ing ##s a song . don ' t cafe 2 + 你 un ##aff ##able".split()
SMALL = WordPiece({piece: number for number, piece in enumerate(PIECES)})


def pieces(text: str) -> str:
    return " ".join(PIECES[number] for number in SMALL.ids(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "[CLS] [SEP]"),
        ("Playing a SONG.", "[CLS] play ##ing a song . [SEP]"),
        ("plays\n\ta\u00a0song", "[CLS] play ##s a song [SEP]"),
        ("don't", "[CLS] don ' t [SEP]"),
        ("Café", "[CLS] cafe [SEP]"),
        ("2+2", "[CLS] 2 + 2 [SEP]"),
        ("unaffable", "[CLS] un ##aff ##able [SEP]"),
        ("unaffordable song", "[CLS] [UNK] song [SEP]"),
        ("a" * 101, "[CLS] [UNK] [SEP]"),
        ("你a", "[CLS] 你 a [SEP]"),
        ("so\u200bng \x07a", "[CLS] song a [SEP]"),
        ("[CLS]", "[CLS] [UNK] [UNK] [UNK] [SEP]"),
    ],
)
def test_known_texts(text: str, expected: str) -> None:
    assert pieces(text) == expected


def test_a_long_text_is_cut_off_and_still_ends() -> None:
    ids = SMALL.ids("a " * 500)
    assert len(ids) == MAX_TOKENS
    assert (PIECES[ids[0]], PIECES[ids[-1]]) == ("[CLS]", "[SEP]")


@given(st.text())
def test_words_hold_no_space_and_no_capital(text: str) -> None:
    for word in split_words(text):
        assert word
        assert not any(character.isspace() for character in word)
        assert word == word.lower()


@given(st.text())
def test_any_text_has_pieces(text: str) -> None:
    ids = SMALL.ids(text)
    assert 2 <= len(ids) <= MAX_TOKENS


def test_a_file_without_a_vocabulary_is_told(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    for content in ("", "[]", "{}", '{"model": {"vocab": {}}}'):
        file.write_text(content)
        with pytest.raises(ModelError, match=r"tokenizer\.json holds no vocabulary"):
            WordPiece.read(file)


@pytest.mark.models
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What time is it?", [101, 2054, 2051, 2003, 2009, 1029, 102]),
        ("Don't stop!", [101, 2123, 1005, 1056, 2644, 999, 102]),
        ("Café Müller's naïve résumé", [101, 7668, 12304, 1005, 1055, 15743, 13746, 102]),
        ("unaffable", [101, 14477, 20961, 3468, 102]),
        ("你好 world", [101, 100, 100, 2088, 102]),
        ("", [101, 102]),
    ],
)
def test_the_real_vocabulary(text: str, expected: list[int]) -> None:
    assert WordPiece.read(model_store().path("embedder_vocabulary")).ids(text) == expected
