"""A server of the OpenAI Realtime protocol that opens a session, refuses our key, or is not there."""

from __future__ import annotations

from pydantic import SecretStr

from edge_client.doctor.upstream import look_at_upstream
from edge_client.upstream.settings import UpstreamSettings
from tests.edge import running_edge
from tests.otlp_sink import nobody_listens

KEY = "a key of some length"


async def test_another_edge_opens_a_session() -> None:
    async with running_edge(api_keys=(KEY,)) as edge:
        [found] = await look_at_upstream(UpstreamSettings(url=edge.url, key=SecretStr(KEY)))
    assert found.verdict == "ok"
    assert "a session was opened" in found.found


async def test_a_key_that_is_not_taken_is_told() -> None:
    async with running_edge(api_keys=(KEY,)) as edge:
        [found] = await look_at_upstream(UpstreamSettings(url=edge.url, key=SecretStr("another")))
    assert (found.verdict, found.advice) == ("fault", "Set upstream.key to a key that this server takes.")


async def test_nobody_there_is_a_fault() -> None:
    with nobody_listens() as url:
        [found] = await look_at_upstream(UpstreamSettings(url=url))
    assert (found.verdict, "upstream.url" in found.advice) == ("fault", True)


async def test_without_one_there_is_nothing_to_look_at() -> None:
    [found] = await look_at_upstream(UpstreamSettings())
    assert found.verdict == "skipped"
