"""What a server takes, as it says itself."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import httpx
import pytest

from edge_client.load.run import calm
from edge_client.load.server_watch import ServerWatch, read_statistics, watching
from edge_client.process_figures import PROCESSES
from tests.certificates import certificate_pair
from tests.edge import running_edge
from tests.web_server import Answer, web_server

HAS_PROCESSES = PROCESSES.exists()


def test_the_figures_of_an_edge_are_read_by_their_names() -> None:
    told = {
        "sessions": 3,
        "loop_lag_ms": {"p50": 0.1, "p99": 4.5, "max": 9.0},
        "process": {"tasks": 40, "cpu_ms": 1500, "resident_bytes": 300},
    }
    assert read_statistics(told) == {
        "sessions": 3.0,
        "tasks": 40.0,
        "resident_bytes": 300.0,
        "cpu_sec": 1.5,
        "loop_lag_ms": 4.5,
    }


def test_what_another_server_tells_is_none_of_ours() -> None:
    assert read_statistics({"sessions": "many"}) == {}
    assert read_statistics({"sessions": 1}) == {"sessions": 1.0}


def test_sums_in_which_a_worker_is_missing_are_not_taken() -> None:
    assert read_statistics({"sessions": 1, "silent_workers": []}) == {"sessions": 1.0}
    assert read_statistics({"sessions": 1, "silent_workers": [2]}) == {}


async def test_an_edge_is_asked_and_its_process_looked_at(nothing_left_behind: None) -> None:
    async with running_edge() as edge, watching(edge.url, key=None, pid=os.getpid()) as watch:
        figures = await calm(watch, at_most_sec=5)
    assert figures["sessions"] == figures["calls"] == 0
    assert figures["tasks"] > 0
    assert ("files" in figures) is HAS_PROCESSES


@pytest.fixture
def own_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """That of a server; who calls it believes it by SSL_CERT_FILE."""
    pair, context = certificate_pair(tmp_path), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    monkeypatch.setenv("SSL_CERT_FILE", str(pair.certificate))
    return context


async def test_a_server_is_believed_by_the_authority_that_calls_believe(own_authority: ssl.SSLContext) -> None:
    def answer(_: str) -> Answer:
        return 200, {}, b'{"sessions": 3}'

    async with web_server(answer, context=own_authority) as url, watching(url, key=None, pid=None) as watch:
        assert await watch.look() == {"sessions": 3.0}


async def test_a_server_that_does_not_tell_is_asked_once(nothing_left_behind: None) -> None:
    async with (
        running_edge(api_keys=("right-key-of-the-operator",)) as edge,
        watching(edge.url, key="wrong", pid=None) as watch,
    ):
        assert await watch.look() == {}
    assert await watch.look() == {}  # with a client that is closed: nobody was asked


async def test_a_server_that_was_too_busy_to_tell_is_asked_again() -> None:
    answers = iter([(200, busy(sessions=2)), (503, {}), (200, busy(sessions=0))])

    def answer(_: httpx.Request) -> httpx.Response:
        status, told = next(answers)
        return httpx.Response(status, json=told)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://edge") as client:
        figures = await calm(ServerWatch(client, pid=None), at_most_sec=60, every_sec=0)
    assert figures == {"sessions": 0.0, "tasks": 9.0}


def busy(*, sessions: int) -> dict[str, object]:
    return {"sessions": sessions, "process": {"tasks": 9}}
