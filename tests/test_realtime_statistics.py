"""Figures of calls and of workers as one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx
import pytest

from edge_client.loop_lag import LoopLagStatistics
from edge_client.realtime.statistics import MediaTotals, added, edge_statistics, worker_statistics
from tests.edge import running_edge
from tests.peers import Caller


@dataclass(frozen=True)
class Ear:
    heard: int
    delay_sec: float


@dataclass(frozen=True)
class Connection:
    connect_sec: float | None
    refused: int
    ear: Ear


def test_counts_are_added_up_and_of_times_the_longest_stays() -> None:
    one = {"heard": 3, "delay_sec": 0.02, "part": {"lost": 1, "wait_sec": None}}
    other = {"heard": 4, "delay_sec": 0.01, "part": {"lost": 2, "wait_sec": 0.5, "late": 1}}
    assert added(one, other) == {
        "heard": 7,
        "delay_sec": 0.02,
        "part": {"lost": 3, "wait_sec": 0.5, "late": 1},
    }


def test_counts_of_a_connection_stay_when_it_has_ended_and_its_delay_does_not() -> None:
    totals = MediaTotals()
    totals.ended(Connection(connect_sec=0.4, refused=2, ear=Ear(heard=100, delay_sec=0.3)))
    running = Connection(connect_sec=None, refused=0, ear=Ear(heard=10, delay_sec=0.02))
    assert totals.with_running([]) == {"connections": 1, "refused": 2, "ear": {"heard": 100}}
    assert totals.with_running([running]) == {
        "connections": 2,
        "connect_sec": None,
        "refused": 2,
        "ear": {"heard": 110, "delay_sec": 0.02},
    }


def test_an_edge_is_the_sum_of_its_workers_with_the_worst_lag() -> None:
    quick, slow = LoopLagStatistics(0.001, 0.002, 0.003), LoopLagStatistics(0.002, 0.009, 0.0504)
    workers = [
        worker_statistics(
            worker=0,
            sessions=2,
            places=8,
            lag=quick,
            media={"connections": 2},
            routing={"unanswered": 1},
            process={"tasks": 9, "peer_connections": 2},
        ),
        worker_statistics(
            worker=2,
            sessions=1,
            places=8,
            lag=slow,
            media={"connections": 5},
            routing={"unanswered": 2},
            process={"tasks": 5, "peer_connections": 1},
        ),
    ]
    assert edge_statistics(workers, silent=[1]) == {
        "sessions": 3,
        "places": 16,
        "process": {"tasks": 14, "peer_connections": 3},
        "loop_lag_ms": {"p50": 2.0, "p99": 9.0, "max": 50.4},
        "media": {"connections": 7},
        "routing": {"unanswered": 3},
        "workers": workers,
        "silent_workers": [1],
    }


@pytest.mark.slow
async def test_an_edge_by_itself_tells_of_its_calls_also_when_they_have_ended(nothing_left_behind: None) -> None:
    async with running_edge() as edge, httpx.AsyncClient(base_url=edge.url) as client, Caller() as caller:
        offer = await caller.offer()
        answer = await client.post("/v1/realtime/calls", content=offer, headers={"Content-Type": "application/sdp"})
        await caller.accept(answer.text)
        await caller.event("session.created")
        during = (await client.get("/v1/statistics")).json()
        await client.delete(answer.headers["Location"])
        while edge.edge.sessions:
            await asyncio.sleep(0.01)
        after = (await client.get("/v1/statistics", params={"sweep": "true"})).json()
    assert (during["sessions"], after["sessions"]) == (1, 0)
    assert during["places"] == 16
    assert during["workers"] == [
        {"worker": 0, **{name: during[name] for name in during["workers"][0] if name != "worker"}}
    ]
    assert (during["process"]["calls"], after["process"]["calls"]) == (1, 0)
    assert during["process"]["peer_connections"] >= 1
    assert during["process"]["tasks"] > after["process"]["tasks"] > 0
    assert during["process"].get("resident_bytes", 1) > 0
    assert during["media"]["connect_sec"] > 0
    assert "connect_sec" not in after["media"]
    assert after["media"]["connections"] == 1
    assert after["media"]["playout"]["packets"] >= during["media"]["playout"]["packets"]
