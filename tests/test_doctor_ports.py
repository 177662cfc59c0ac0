"""The address of the edge: free, held by an edge, held by a stranger, or none of this machine's."""

from __future__ import annotations

from urllib.parse import urlsplit

from edge_client.doctor.finding import Finding
from edge_client.doctor.ports import look_at_port
from edge_client.settings import EdgeSettings
from tests.edge import running_edge
from tests.web_server import web_server


async def look(host: str = "127.0.0.1", port: int = 0) -> list[Finding]:
    return await look_at_port(EdgeSettings(host=host, port=port, api_keys=("a key for other hosts",)))  # type: ignore[arg-type]


async def test_a_free_port_is_well() -> None:
    [found] = await look()
    assert (found.verdict, found.found) == ("ok", "any free one is taken")


async def test_an_edge_that_runs_already_is_asked_how_it_is() -> None:
    async with running_edge() as edge:
        port = urlsplit(edge.url).port
        assert port
        there, ready = await look(port=port)
    assert (there.verdict, there.found) == ("ok", f"an edge listens on 127.0.0.1 port {port} already")
    assert (ready.about, ready.verdict) == ("readiness", "ok")


async def test_an_edge_without_a_place_is_told() -> None:
    async with running_edge(maximum_sessions=1) as edge:
        with edge.edge.place():
            _, ready = await look(port=urlsplit(edge.url).port or 0)
    assert (ready.verdict, ready.found) == ("fault", "full")
    assert "maximum_sessions" in ready.advice


async def test_a_stranger_on_the_port_is_a_fault() -> None:
    async with web_server(lambda request: (200, {}, b"a page")) as url:
        port = urlsplit(url).port or 0
        [found] = await look(port=port)
    assert (found.verdict, found.found) == ("fault", f"another program on 127.0.0.1 port {port}")


async def test_an_address_of_another_machine_is_a_fault() -> None:
    [found] = await look(host="192.0.2.77", port=8080)
    assert found.verdict == "fault"
    assert "192.0.2.77" in found.found
