"""Moonshine tiny: English speech to text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edge_client.models.onnx import open_session
from routing.turns import SPEECH_SAMPLE_RATE, Samples

BEGIN = 1
END = 2
LAST_SPECIAL = 2
LAYERS = 6
HEADS = 8
HEAD_SIZE = 36
MIN_SAMPLES = SPEECH_SAMPLE_RATE // 10  # the encoder needs some, and nothing shorter holds a word
# Nobody says more than 6.5 tokens a second: a decoder that goes on beyond that is repeating itself.
TOKENS_PER_SEC = 6.5
MIN_TOKENS = 6
# The last tokens of a partial transcript rest on half a word and are mostly wrong.
UNSTABLE_TOKENS = 2
# What it writes for silence, noise, clicks and coughs: a bare "You", or notes. A person's "you" gets a full stop:
# of 376 short recordings of people, none came out as a bare "You".
NO_SPEECH = "You"
NO_WORDS = "♪\N{REPLACEMENT CHARACTER} .,!?-"

type Tensor = NDArray[np.float32]
type Cache = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Transcription:
    """``tokens`` are what ``text`` is made of, and a draft for a later transcription of more of the turn."""

    text: str
    tokens: tuple[int, ...]


class Moonshine:
    """Encoder, decoder and vocabulary, from one folder."""

    def __init__(self, folder: Path) -> None:
        self._encoder = open_session(folder / "encoder_model.ort")
        self._decoder = open_session(folder / "decoder_model_merged.ort")
        self._vocabulary = tuple(read_vocabulary((folder / "tokenizer.bin").read_bytes()))

    def transcribe(self, samples: Samples, draft: Sequence[int] = ()) -> Transcription:
        """The words in ``samples`` (16 kHz): the whole turn so far, since the model has no memory.

        ``draft`` are the tokens of an earlier transcription of its beginning. Those that still hold cost one step
        together, instead of one step each. Where no words are found, the text is empty.
        """
        if len(samples) < MIN_SAMPLES:
            return Transcription("", ())
        limit = max(MIN_TOKENS, int(TOKENS_PER_SEC * len(samples) / SPEECH_SAMPLE_RATE) + 2)
        tokens = self._decode(samples, _stable(draft)[: limit - 1], limit)
        text = self._text(tokens)
        return Transcription(text, tokens) if _has_words(text) else Transcription("", ())

    def _decode(self, samples: Samples, draft: Sequence[int], limit: int) -> tuple[int, ...]:
        """Greedy decoding, begun with the part of ``draft`` that the model would have written itself."""
        decoder = _Decoder(self._decoder, self._encode(samples))
        tokens = decoder.begin(draft)
        while tokens[-1] != END and len(tokens) < limit:
            tokens.append(decoder.step(tokens[-1]))
        return tuple(token for token in tokens if token != END)

    def _encode(self, samples: Samples) -> Tensor:
        inputs = {
            "input_values": samples[np.newaxis],
            "attention_mask": np.ones((1, len(samples)), np.int64),
        }
        (states,) = self._encoder.run(["last_hidden_state"], inputs)
        frames: Tensor = states
        return frames

    def _text(self, tokens: Sequence[int]) -> str:
        pieces = b"".join(self._vocabulary[token] for token in tokens if token > LAST_SPECIAL)
        return pieces.decode("utf-8", errors="replace").replace("\u2581", " ").strip()


class _Decoder:
    """The decoder at work on one encoded turn: what it has attended to so far."""

    def __init__(self, session: onnxruntime.InferenceSession, encoded: Tensor) -> None:
        self._session = session
        self._constant = {
            "encoder_hidden_states": encoded,
            "encoder_attention_mask": _ALL_SOUND,
        }
        self._speech: Cache = _EMPTY_SPEECH  # keys and values of the sound: the same in all steps
        self._words: Cache = _EMPTY_WORDS  # keys and values of the tokens: one more in each step

    def begin(self, draft: Sequence[int]) -> list[int]:
        """The first tokens: as much of ``draft`` as the decoder agrees with, and the token it wants next."""
        wanted, present = self._run([BEGIN, *draft], _WORDS_OUT + _SPEECH_OUT, use_cache=False)
        agreed = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(draft, wanted, strict=False)))
        self._speech = dict(zip(_SPEECH_IN, present[len(_WORDS_OUT) :], strict=True))
        words = (tensor[:, :, : agreed + 1] for tensor in present[: len(_WORDS_OUT)])
        self._words = dict(zip(_WORDS_IN, words, strict=True))
        return wanted[: agreed + 1]

    def step(self, token: int) -> int:
        """The token after ``token``."""
        wanted, present = self._run([token], _WORDS_OUT, use_cache=True)
        self._words = dict(zip(_WORDS_IN, present, strict=True))
        return wanted[0]

    def _run(self, tokens: Sequence[int], outputs: Sequence[str], *, use_cache: bool) -> tuple[list[int], list[Tensor]]:
        """What the decoder wants after each of ``tokens``, and the named outputs."""
        inputs = {
            "input_ids": np.array([tokens], np.int64),
            "use_cache_branch": np.array([use_cache]),
            **self._constant,
            **self._speech,
            **self._words,
        }
        logits, *present = self._session.run(["logits", *outputs], inputs)
        return logits[0].argmax(axis=-1).tolist(), present


def read_vocabulary(content: bytes) -> Iterator[bytes]:
    """The tokens by id: each a length and its bytes. A length above 127 takes two bytes, the lower 7 bits first."""
    at = 0
    while at < len(content):
        length, at = content[at], at + 1
        if length >= 128:
            length, at = length - 128 + 128 * content[at], at + 1
        yield content[at : at + length]
        at += length


def _has_words(text: str) -> bool:
    return text != NO_SPEECH and text.strip(NO_WORDS) != ""


def _stable(draft: Sequence[int]) -> tuple[int, ...]:
    """The tokens worth verifying: without special ones, which only ever end a text."""
    return tuple(takewhile(lambda token: token > LAST_SPECIAL, draft[:-UNSTABLE_TOKENS]))


def _tensor_names(prefix: str, side: str) -> list[str]:
    return [f"{prefix}.{layer}.{side}.{kind}" for layer in range(LAYERS) for kind in ("key", "value")]


_WORDS_IN, _WORDS_OUT = _tensor_names("past_key_values", "decoder"), _tensor_names("present", "decoder")
_SPEECH_IN, _SPEECH_OUT = _tensor_names("past_key_values", "encoder"), _tensor_names("present", "encoder")
# The graph takes every 384th entry of a mask over samples. One entry stands for all of them; a mask over the
# encoder's frames fails from 9.2 s on.
_ALL_SOUND = np.ones((1, 1), np.int64)
_EMPTY = np.zeros((1, HEADS, 0, HEAD_SIZE), np.float32)
_EMPTY_WORDS: Cache = dict.fromkeys(_WORDS_IN, _EMPTY)
_EMPTY_SPEECH: Cache = dict.fromkeys(_SPEECH_IN, _EMPTY)
