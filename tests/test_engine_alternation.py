"""The alternation of text and sound, by its table of transitions and against the installed generators themselves."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.engine.alternation import Alternation, ControlTokens, Interleaved, Sequential
from deployments.engine.sequence import Modality

END_OF_TURN, AUDIO_START, TEXT_END, END_OF_AUDIO = 7, 128, 130, 2048
CONTROLS = ControlTokens(end_of_turn=END_OF_TURN, audio_start=AUDIO_START, text_end=TEXT_END, end_of_audio=END_OF_AUDIO)
CODEBOOKS = 8

# What is offered at each step, whichever head asks: a token, and the first code of a frame.
TOKENS = {"t": 300, "E": TEXT_END, "S": AUDIO_START, ".": END_OF_TURN}
CODES = {"a": 11, "e": END_OF_AUDIO}


def told(alternation: Alternation, script: str) -> str:
    """What becomes of a script of items: the kept ones, in the letters of the script; ``|`` where it stops.

    A letter of the other head than the one that is asked is left in the script for later; so a script tells which
    items are sampled, and the result when.
    """
    kept = ""
    tokens = iter([letter for letter in script if letter in TOKENS])
    codes = iter([letter for letter in script if letter in CODES])
    while True:
        is_text = alternation.modality is Modality.TEXT
        letter = next(tokens if is_text else codes, None)
        if letter is None:
            return kept
        if is_text:
            verdict = alternation.take_token(TOKENS[letter])
        else:
            verdict = alternation.take_frame([CODES[letter]] * CODEBOOKS)
        kept += letter if verdict.keep else ""
        if verdict.stop:
            return kept + "|"


def interleaved(text_run: int = 6, audio_run: int = 12) -> Interleaved:
    return Interleaved(CONTROLS, text_run=text_run, audio_run=audio_run)


@pytest.mark.parametrize("audio_run", [12, 9])
def test_text_and_sound_take_turns(audio_run: int) -> None:
    script = "t" * 14 + "a" * 2 * audio_run
    cycle = "t" * 6 + "a" * audio_run
    assert told(interleaved(6, audio_run), script) == cycle + cycle + "tt"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (".", "|"),  # the end of the turn is not part of the reply
        ("tt.", "tt|"),
        ("ttE" + "a" * 40, "ttE" + "a" * 40),  # after the end of the text, sound until it ends by itself
        ("ttE" + "a" * 20 + "e.", "ttE" + "a" * 20 + "e|"),
        ("tttttE" + "a" * 15 + "e.", "tttttE" + "a" * 15 + "e|"),  # the text may end with its run
        ("t" * 6 + "e" + "t" * 20, "t" * 6 + "e" + "t" * 11),  # an early end of sound leaves its count to the text
        ("t" * 6 + "aaae" + "t" * 8 + "a", "t" * 6 + "aaae" + "t" * 8 + "a"),
        ("ttEaetaa", "ttEaetaa"),  # text after its own end goes back to sound at once
        ("ttEae.", "ttEae|"),
        (
            "t" * 6 + "a" * 11 + "e" + "t" * 7,
            "t" * 6 + "a" * 11 + "e" + "t" * 6,
        ),  # the last of a run ends sound: a new run
        ("S" * 6 + "a", "S" * 6 + "a"),  # only read aloud does this token begin sound
    ],
)
def test_quirks_of_the_interleaved_generator(script: str, expected: str) -> None:
    assert told(interleaved(), script) == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("tttt.", "tttt.|"),  # here the end of the turn is part of the reply
        ("t" * 30, "t" * 30),
        ("ttS" + "a" * 30, "ttS" + "a" * 30),
        ("ttSaaaet.", "ttSaaaet.|"),
        ("EtS" + "aae" + "S" + "a", "EtSaaeSa"),
    ],
)
def test_words_before_sound(script: str, expected: str) -> None:
    assert told(Sequential(CONTROLS), script) == expected


def test_only_the_first_code_ends_the_sound() -> None:
    alternation = interleaved(text_run=1)
    alternation.take_token(300)
    alternation.take_frame([5] + [END_OF_AUDIO] * (CODEBOOKS - 1))
    assert alternation.modality is Modality.AUDIO


# -- against the generators of the package --------------------------------------------------------------------------


@pytest.mark.engine
@settings(max_examples=100, deadline=None)
@given(
    text_run=st.integers(1, 7),
    audio_run=st.integers(1, 13),
    is_interleaved=st.booleans(),
    items=st.lists(
        st.tuples(
            st.sampled_from([300, 300, 300, 301, TEXT_END, AUDIO_START, END_OF_TURN]),
            st.sampled_from([11, 11, 11, 12, END_OF_AUDIO]),
        ),
        min_size=1,
        max_size=60,
    ),
)
def test_it_goes_as_the_generators_of_the_package_do(
    text_run: int, audio_run: int, is_interleaved: bool, items: list[tuple[int, int]]
) -> None:
    stock = list(stock_items(items, text_run=text_run, audio_run=audio_run, is_interleaved=is_interleaved))
    ours = interleaved(text_run, audio_run) if is_interleaved else Sequential(CONTROLS)
    assert list(our_items(ours, items)) == stock


def our_items(alternation: Alternation, items: list[tuple[int, int]]) -> Iterator[list[int]]:
    """Each step is offered a token and a code, and takes the one that its head asks for."""
    for token, code in items:
        if alternation.modality is Modality.TEXT:
            item, verdict = [token], alternation.take_token(token)
        else:
            codes = [code] + [3] * (CODEBOOKS - 1)
            item = [END_OF_AUDIO] * CODEBOOKS if code == END_OF_AUDIO else codes
            verdict = alternation.take_frame(codes)
        if verdict.keep:
            yield item
        if verdict.stop:
            return


def stock_items(
    items: list[tuple[int, int]], *, text_run: int, audio_run: int, is_interleaved: bool
) -> Iterator[list[int]]:
    """The package's own generator, on a model whose layers give nothing and whose samplers follow a script."""
    import torch
    from liquid_audio.model.lfm2_audio import LFM2AudioModel

    script = iter(items)
    offered: list[tuple[int, int]] = []

    def backbone(**_: Any) -> SimpleNamespace:
        offered[:] = [next(script)]
        return SimpleNamespace(last_hidden_state=torch.zeros(1, 1, 4), past_key_values=None)

    backbone.embed_tokens = Embedding(torch.zeros(1024, 4))  # type: ignore[attr-defined]
    stand_in = SimpleNamespace(
        conf=SimpleNamespace(interleaved_n_text=text_run, interleaved_n_audio=audio_run),
        lfm=backbone,
        _prefill=lambda **_: torch.zeros(1, 1, 4),
        _sample_text_token=lambda *_, **__: torch.tensor([offered[0][0]]),
        _sample_audio_frame=lambda *_, **__: torch.tensor([offered[0][1]] + [3] * (CODEBOOKS - 1)),
        audio_embedding=Embedding(torch.zeros(2049, 4)),
        codebook_offsets=torch.zeros(CODEBOOKS, dtype=torch.int64),
    )
    generate = LFM2AudioModel.generate_interleaved if is_interleaved else LFM2AudioModel.generate_sequential
    prompt = dict.fromkeys(("text", "audio_in", "audio_in_lens", "audio_out", "modality_flag"))
    for item in generate(stand_in, **prompt, max_new_tokens=len(items)):
        yield item.tolist()


class Embedding:
    """A table of vectors that can be called with ids and has its weights by name."""

    def __init__(self, weight: Any) -> None:
        self.weight = weight

    def __call__(self, ids: Any) -> Any:
        return self.weight[ids]
