"""A reply is cut where a voice may begin and breathe, and nothing of it is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.device.clauses import LONGEST_CLAUSE, ClauseCutter, clauses, ends_sentence

prose = st.text(alphabet=st.sampled_from("ab1 ,;:.!?\n\"')é—"), max_size=600) | st.text(max_size=200)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Yes.", ["Yes."]),
        ("The capital of Italy is Rome, which is old.", ["The capital of Italy is Rome,", " which is old."]),
        (
            "Yes, of course I can, my friend. Sit down, please.",
            ["Yes, of course I can,", " my friend.", " Sit down, please."],
        ),
        ("It is 3.14 miles. Or 1,000.5 feet!", ["It is 3.14 miles.", " Or 1,000.5 feet!"]),
        ("It ended in 1945. Then came peace.", ["It ended in 1945.", " Then came peace."]),
        ("Dr. Smith lives in the U.S. today. Yes?", ["Dr. Smith lives in the U.S. today.", " Yes?"]),
        ('He said "Go." Then he left.', ['He said "Go."', " Then he left."]),
        ("Wait... what?! No", ["Wait...", " what?!", " No"]),
        ("one\ntwo", ["one\n", "two"]),
        ("...", ["..."]),
        ("", []),
    ],
)
def test_clauses_end_where_people_breathe(text: str, pieces: list[str]) -> None:
    assert clauses(text) == pieces


def test_only_the_first_clause_ends_at_a_comma() -> None:
    assert clauses("one two three four, five. six seven eight nine, ten") == [
        "one two three four,",
        " five.",
        " six seven eight nine, ten",
    ]


def test_an_endless_sentence_is_cut_between_words() -> None:
    pieces = clauses("word " * 200)
    assert all(len(piece) <= LONGEST_CLAUSE and piece.endswith("word ") for piece in pieces)


def test_the_eager_cutter_does_not_wait_for_the_space_behind_a_full_stop() -> None:
    patient, eager = ClauseCutter(), ClauseCutter(eager=True)
    assert patient.feed("It is Rome.") == []
    assert eager.feed("It is Rome.") == ["It is Rome."]


def test_the_eager_cutter_waits_behind_a_figure_that_may_go_on() -> None:
    cutter = ClauseCutter(eager=True)
    assert cutter.feed("It is 3.") == []
    assert cutter.feed("14 miles.") == ["It is 3.14 miles."]


@given(text=prose, eager=st.booleans(), cuts=st.lists(st.integers(0, 600), max_size=20))
def test_the_clauses_are_the_text_to_the_letter(text: str, eager: bool, cuts: list[int]) -> None:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    cutter = ClauseCutter(eager=eager)
    pieces = [piece for start, end in pairwise(places) for piece in cutter.feed(text[start:end])]
    assert "".join([*pieces, *cutter.flush()]) == text
    assert all(pieces)


@given(text=prose, cuts=st.lists(st.integers(0, 600), max_size=20))
def test_the_patient_cutter_does_not_care_how_the_text_comes(text: str, cuts: list[int]) -> None:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    cutter = ClauseCutter()
    pieces = [piece for start, end in pairwise(places) for piece in cutter.feed(text[start:end])]
    assert [*pieces, *cutter.flush()] == clauses(text)


@pytest.mark.parametrize(
    ("clause", "ends"),
    [("It is.", True), (' "Go!" ', True), ("Well,", False), ("", False), ("(Yes.)\n", True)],
)
def test_the_end_of_a_sentence_is_seen_behind_quotes(clause: str, ends: bool) -> None:
    assert ends_sentence(clause) is ends
