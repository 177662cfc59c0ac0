"""Turns that ask at once are embedded in one call, and each gets the vectors of its own texts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from deployments.cascade.embedder import open_embedder
from edge_client.models.library import Library
from routing.errors import BackendError
from tests.device_models import ScriptedModels


@pytest.fixture
def scripted() -> ScriptedModels:
    return ScriptedModels()


@pytest.fixture
def library(scripted: ScriptedModels) -> Iterator[Library]:
    with scripted.library() as library:
        yield library


async def test_each_turn_gets_its_own_vectors(scripted: ScriptedModels, library: Library) -> None:
    turns = [["one"], ["two three", "four"], ["five", "six", "seven"], ["one"]]
    async with open_embedder(library.embedder, maximum_batch=8, longest_wait_ms=0) as embedder:
        vectors = await asyncio.gather(*map(embedder.embed, turns))
        assert embedder.statistics().batches == 1
    assert [len(each) for each in vectors] == [1, 2, 3, 1]
    for turn, each in zip(turns, vectors, strict=True):
        np.testing.assert_array_equal(each, scripted.counter.embed(turn))


async def test_a_model_that_fails_is_told_as_the_backends_own_failure(
    scripted: ScriptedModels, library: Library
) -> None:
    async with open_embedder(library.embedder, maximum_batch=8, longest_wait_ms=0) as embedder:
        scripted.counter.fault = MemoryError("no room")
        with pytest.raises(BackendError, match="'embedder' failed: no room"):
            await embedder.embed(["one"])
        scripted.counter.fault = None
        assert len(await embedder.embed(["one"])) == 1
