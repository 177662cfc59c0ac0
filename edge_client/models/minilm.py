"""MiniLM: sentences as vectors that lie close where the meaning is close."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_client.models.onnx import open_session
from edge_client.models.word_piece import WordPiece

EMBEDDING_SIZE = 384
MOST_TOGETHER = 16  # in one run of the graph; more save little and take memory

type Embeddings = NDArray[np.float32]  # [sentences, 384], each of length 1


class MiniLM:
    """The graph and its tokenizer."""

    def __init__(self, model: Path, tokenizer: Path) -> None:
        self._session = open_session(model)
        self._tokenizer = WordPiece.read(tokenizer)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """One unit vector for each text: the dot product of two is their likeness, from -1 to 1.

        Sentences of as many tokens run together: their vectors are the same to the last bit, and cost less than half.
        Others run apart. The shorter ones would have to be padded, which costs more and, with weights in whole
        numbers, changes their vectors.
        """
        embeddings = np.empty((len(texts), EMBEDDING_SIZE), np.float32)
        ids = [self._tokenizer.ids(text) for text in texts]
        for rows in _alike(ids):
            for row, states in zip(rows, self._states([ids[row] for row in rows]), strict=True):
                mean = states.mean(axis=0)
                embeddings[row] = mean / np.linalg.norm(mean)
        return embeddings

    def _states(self, sentences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Of sentences of n tokens, as [sentences, n, 384]."""
        ids = np.array(sentences, np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        (states,) = self._session.run(["last_hidden_state"], inputs)
        sentences_states: NDArray[np.float32] = states
        return sentences_states


def _alike(ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Which sentences run together, by their places."""
    by_length = defaultdict[int, list[int]](list)
    for place, sentence in enumerate(ids):
        by_length[len(sentence)].append(place)
    for places in by_length.values():
        for start in range(0, len(places), MOST_TOGETHER):
            yield places[start : start + MOST_TOGETHER]
