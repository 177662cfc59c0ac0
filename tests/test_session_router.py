"""What belongs to a turn goes where the turn is, and nobody looks for ever for a replica that is gone."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]  # Ray takes seconds to import

HERE, THERE = (SimpleNamespace(replica_id=SimpleNamespace(unique_id=name)) for name in ("here", "there"))


async def chosen(monkeypatch: pytest.MonkeyPatch, future: asyncio.Future[Any], **kwargs: Any) -> list[list[Any]]:
    """Of two replicas, of which the first remembers the session."""
    from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter

    from deployments.session_router import SessionRouter

    async def ranks(*_: Any) -> list[list[Any]]:
        return [[HERE], [THERE]]

    monkeypatch.setattr(ConsistentHashRouter, "choose_replicas", ranks)
    request: Any = SimpleNamespace(kwargs=kwargs, future=future)
    candidates: Any = [HERE, THERE]
    found: list[list[Any]] = await SessionRouter.__new__(SessionRouter).choose_replicas(candidates, request)
    return found


@pytest.fixture
def importable(blockbuster: Any) -> None:
    """Ray is imported while the event loop runs, and reads files."""
    blockbuster.deactivate()


@pytest.mark.usefixtures("importable")
async def test_a_turn_goes_to_its_replica_and_not_to_those_that_failed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    assert await chosen(monkeypatch, future) == [[HERE], [THERE]]
    assert await chosen(monkeypatch, future, at="there") == [[THERE]]
    assert await chosen(monkeypatch, future, avoid=["here"]) == [[THERE]]
    assert await chosen(monkeypatch, future, avoid=["here", "there"]) == [[HERE], [THERE]]
    assert not future.done()


@pytest.mark.usefixtures("importable")
async def test_what_is_meant_for_a_replica_that_is_gone_is_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    for _ in range(2):  # Ray sees that it is over only where it has somebody to look at
        assert any(await chosen(monkeypatch, future, at="gone"))
        assert "the replica is gone" in str(future.exception())
