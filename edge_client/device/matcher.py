"""How alike sentences are in meaning, by the cosine of their embeddings."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_client.device.calls import call
from edge_client.device.prompt import plain

if TYPE_CHECKING:
    from edge_client.models.library import Hosted
    from edge_client.models.minilm import Embeddings, MiniLM

MOST_KEPT = 4096  # embeddings, 1.5 kB each; the least recently used go first
LONGEST_PHRASE = 1000  # characters; the model reads fewer
LONGEST_SENTENCE = 400  # characters; what is asked stands at the end of a long speech


class Embedder(Protocol):
    """Turns texts into vectors."""

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """One unit vector for each text.

        Raises:
            BackendError: the model failed.
        """
        ...


class HostedEmbedder:
    """Asks the model for one turn at a time."""

    def __init__(self, embedder: Hosted[MiniLM]) -> None:
        self._embedder = embedder

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """See `Embedder`."""
        return await call(self._embedder, lambda model: model.embed(texts))


class Matcher:
    """Remembers what it has embedded, since skills and tools are compared with every turn."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    async def likeness(self, text: str, phrases: Sequence[str]) -> NDArray[np.float32]:
        """The likeness of ``text`` to each phrase, as float32 [n] in [-1, 1]."""
        if not phrases:
            return np.zeros(0, np.float32)
        sentence, *others = await self._embedded([plain(text[-LONGEST_SENTENCE:]), *map(_phrase, phrases)])
        return np.stack(others) @ sentence

    async def learn(self, phrases: Sequence[str]) -> None:
        """Embed phrases ahead of the first question."""
        await self._embedded([_phrase(phrase) for phrase in phrases])

    async def _embedded(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        known = {text: self._known[text] for text in texts if text in self._known}
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            known |= zip(missing, await self._embedder.embed(missing), strict=True)
        self._keep(known)
        return [known[text] for text in texts]

    def _keep(self, used: dict[str, NDArray[np.float32]]) -> None:
        for text, vector in used.items():
            self._known[text] = vector
            self._known.move_to_end(text)
        while len(self._known) > MOST_KEPT:
            self._known.popitem(last=False)


def _phrase(text: str) -> str:
    return plain(text[:LONGEST_PHRASE])
