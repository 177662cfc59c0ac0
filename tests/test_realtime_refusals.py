"""Whoever is refused fills no log with it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import websockets

from edge_client.realtime import refusals
from edge_client.realtime.program import server_config
from edge_client.realtime.server import create_app
from tests.edge import running_edge, scripted_edge


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    log = logging.getLogger(refusals.SERVER_LOG)
    before = list(log.filters)
    log.filters.clear()
    yield
    log.filters[:] = before


async def refused(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is logged as an error while somebody without a key is refused."""
    with caplog.at_level(logging.INFO):
        async with running_edge(api_keys=("a key of some length",)) as edge:
            with pytest.raises(websockets.InvalidStatus, match="401"):
                await websockets.connect(edge.socket_url)
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def test_the_server_complains_of_each_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    """Should it leave that off one day, this module is needed no more."""
    assert await refused(caplog) == [refusals.COMPLAINT]


async def test_an_edge_is_served_without(caplog: pytest.LogCaptureFixture) -> None:
    async with scripted_edge() as edge:
        server_config(create_app(edge))
    assert await refused(caplog) == []
    logging.getLogger(refusals.SERVER_LOG).error("something else")
    assert "something else" in caplog.text
