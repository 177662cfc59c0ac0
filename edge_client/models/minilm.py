"""MiniLM: sentences as vectors that lie close where the meaning is close."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_client.models.onnx import open_session
from edge_client.models.word_piece import WordPiece

EMBEDDING_SIZE = 384

type Embeddings = NDArray[np.float32]  # [sentences, 384], each of length 1


class MiniLM:
    """The graph and its tokenizer."""

    def __init__(self, model: Path, tokenizer: Path) -> None:
        self._session = open_session(model)
        self._tokenizer = WordPiece.read(tokenizer)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """One unit vector for each text: the dot product of two is their likeness, from -1 to 1.

        Sentences run one by one. In a batch the short ones would be padded, which costs more and, with weights in
        whole numbers, changes their vectors.
        """
        embeddings = np.empty((len(texts), EMBEDDING_SIZE), np.float32)
        for row, text in enumerate(texts):
            mean = self._states(text).mean(axis=0)
            embeddings[row] = mean / np.linalg.norm(mean)
        return embeddings

    def _states(self, text: str) -> Embeddings:
        ids = np.array([self._tokenizer.ids(text)], np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        (states,) = self._session.run(["last_hidden_state"], inputs)
        sentence: Embeddings = states[0]
        return sentence
