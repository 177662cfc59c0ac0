"""Clocks that jump, and clocks that differ from those of the servers that an edge deals with."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from edge_client.doctor import clocks
from edge_client.doctor.clocks import Other, compared, look_at_clocks, look_at_own_clock, own_clock
from edge_client.doctor.finding import Finding
from tests.web_server import web_server


async def look(ahead_sec: float) -> Finding:
    date = {"date": formatdate(time.time() + ahead_sec, usegmt=True)}
    async with web_server(lambda request: (404, date, b"")) as url:
        [found] = await look_at_clocks([Other("the cloud", url.replace("http", "ws") + "/some/route")])
    return found


async def test_servers_that_agree_are_well() -> None:
    found = await look(0.0)
    assert (found.about, found.verdict) == ("clock of the cloud", "ok")


@pytest.mark.parametrize(("ahead_sec", "way"), [(3600.0, "ahead of ours"), (-3600.0, "behind ours")])
async def test_an_hour_between_them_is_a_fault(ahead_sec: float, way: str) -> None:
    found = await look(ahead_sec)
    assert found.verdict == "fault"
    assert found.found.endswith(way)
    assert "timedatectl" in found.advice


@pytest.mark.parametrize(
    ("ahead_sec", "verdict"), [(-1.9, "ok"), (2.1, "warning"), (-30.0, "warning"), (30.1, "fault")]
)
def test_the_more_the_worse(ahead_sec: float, verdict: str) -> None:
    assert compared("the cloud", ahead_sec).verdict == verdict


def test_a_server_that_answers_slowly_is_given_the_benefit_of_the_doubt() -> None:
    assert compared("the cloud", 3.0, unsure_sec=2.0).verdict == "ok"


async def test_without_another_that_tells_the_time_there_is_nothing_to_compare() -> None:
    async with web_server(lambda request: (200, {"date": "yesterday"}, b"")) as url:
        [found] = await look_at_clocks([Other("the cloud", url), Other("the collector", "http://127.0.0.1:9")])
    assert found.verdict == "skipped"


def test_a_clock_that_is_set_meanwhile_is_warned_of() -> None:
    assert own_clock(0.001).verdict == "ok"
    jumped = own_clock(-0.25)
    assert (jumped.verdict, jumped.found) == ("warning", "it jumped by -250 ms while it was looked at")


async def test_this_machine_has_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "MOMENT_SEC", 0.01)
    [found] = await look_at_own_clock()
    assert found.about == "clock"
