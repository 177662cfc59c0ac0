"""What those who keep an edge running can ask it: may it be sent callers, and what it has counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from edge_client.realtime.edge_metrics import EdgeMetrics
from edge_client.realtime.probes import add_probes, welcome
from edge_client.turn_story import Interruption, TurnStory
from edge_client.workers.siblings import FORWARDED
from routing.policy import Choice
from routing.record import Outcome, Switch, Waste
from routing.telemetry import names
from routing.telemetry.metrics import METRICS
from routing.telemetry.power import PowerMeters, metering
from routing.telemetry.program import open_telemetry
from routing.telemetry.settings import TelemetrySettings
from tests.counted import SAMPLED
from tests.crew import Workplace, running_crew, workplace
from tests.edge import RunningEdge, running_edge
from tests.test_realtime_edge_metrics import attempt, placed, turn
from tests.test_telemetry_power import NO_GPU, ScriptedNvml

OPEN_METRICS = {"accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
# What a machine has no meter for is absent. Everything else is there wherever an edge runs.
HARDWARE = "hw."
OF_AN_EDGE = {metric for metric in METRICS if metric.place in {"edge", "both"}}

read_open_metrics: Callable[[str], Iterable[Family]] = openmetrics.text_string_to_metric_families


@pytest.fixture
def place() -> Iterator[Workplace]:
    with workplace(2) as folder:
        yield folder


class Counting(NamedTuple):
    """An edge that counts, on a machine with or without meters."""

    edge: RunningEdge
    meters: PowerMeters


@asynccontextmanager
async def counting(folder: Path, nvml: ScriptedNvml) -> AsyncIterator[Counting]:
    async with (
        open_telemetry(TelemetrySettings(), service=names.EDGE) as telemetry,
        running_edge(traced=telemetry) as edge,
        metering(telemetry.instruments, nvml=nvml, powercap=folder, every_sec=0.001) as meters,
    ):
        yield Counting(edge, meters)


def everything_happens(metrics: EdgeMetrics) -> None:
    """All that is counted, once."""
    story = TurnStory(opened=0.0, speech_end=2.0, decided=2.3, first_audio=2.7, end_reason="semantic", starved=240)
    story.interruption = Interruption(noticed=5.0, silent=5.1)
    metrics.note_turn(turn(story, v2v_sec=0.75, measured="caller"))
    metrics.note_connection(0.4, True, SAMPLED, "host")
    choice = Choice(first="cloud", reason="soonest: cloud in 20 ms", predicted_sec={"device": 0.1})
    switch = Switch(backend="device", instead_of="cloud", told_sec=0.0, why="too late")
    arrivals, waste = {"device": 0.25}, {"cloud": Waste(work_sec=1.5)}
    outcome = Outcome(
        backend="device", first_sound_sec=0.3, ended="told", arrivals=arrivals, switches=(switch,), waste=waste
    )
    metrics.note_placed(placed(choice, outcome))
    metrics.note_attempt(attempt())


async def scrape(edge: RunningEdge, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=edge.url) as client:
        return await client.get("/metrics", headers=headers)


def families(text: str) -> dict[str, Family]:
    return {family.name: family for family in read_open_metrics(text)}


# -- may it be sent callers --------------------------------------------------------------------------------------------


async def test_an_edge_is_ready_while_there_is_a_place() -> None:
    async with running_edge(maximum_sessions=1) as edge, httpx.AsyncClient(base_url=edge.url) as client:
        free = await client.get("/readyz")
        with edge.edge.place():
            full = await client.get("/readyz")
            alive = await client.get("/healthz")
    assert (free.status_code, free.json()) == (200, {"status": "ready"})
    assert (full.status_code, full.json()) == (503, {"status": "full"})
    assert alive.status_code == 200


def test_before_it_has_started_and_when_it_leaves_it_is_not_ready() -> None:
    app = FastAPI()
    add_probes(app)
    stages = [app.state.stage]
    with welcome(app):
        stages.append(app.state.stage)
    assert [*stages, app.state.stage] == ["starting", "ready", "leaving"]


# -- what it has counted -----------------------------------------------------------------------------------------------


async def test_every_metric_of_an_edge_is_on_its_scrape(tmp_path: Path) -> None:
    async with counting(tmp_path, NO_GPU) as (edge, _):
        everything_happens(edge.edge.metrics)
        edge.edge.routing = lambda: {"backends": {"cloud": {"circuit": "open"}}}
        response = await scrape(edge, **OPEN_METRICS)
    found = families(response.text)
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert {metric.name for metric in OF_AN_EDGE if metric.prometheus_name.removesuffix("_total") not in found} == {
        metric.name for metric in OF_AN_EDGE if metric.name.startswith(HARDWARE)
    }
    exemplars = [sample.exemplar for sample in found["voice_turns"].samples if sample.exemplar]
    assert [exemplar.labels["trace_id"] for exemplar in exemplars] == ["ab" * 16]


async def test_the_meters_of_a_machine_that_has_some_are_on_it_too(tmp_path: Path) -> None:
    async with counting(tmp_path, ScriptedNvml((1000, 50))) as (edge, meters):
        while not meters.power():
            await asyncio.sleep(0.001)
        text = (await scrape(edge)).text
    found = {family.name for family in text_string_to_metric_families(text)}
    assert {"hw_energy_joules", "hw_power_watts", "hw_gpu_utilization_ratio"} <= found


@pytest.mark.promtool
async def test_prometheus_own_tool_finds_no_fault_with_a_scrape(tmp_path: Path) -> None:
    async with counting(tmp_path, ScriptedNvml((1000, 50))) as (edge, _):
        everything_happens(edge.edge.metrics)
        response = await scrape(edge)
    assert await checked(response.content) == (0, "")


async def checked(text: bytes) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        "promtool",
        "check",
        "metrics",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate(text)
    return process.returncode, told.decode()


async def test_metrics_are_for_the_operator_where_callers_need_keys() -> None:
    async with running_edge(api_keys="key-one") as edge:
        codes = [(await scrape(edge, **who)).status_code for who in ({}, {"authorization": "Bearer key-one"})]
        secret = edge.edge.keys.issue({}, now=1e12, lifetime_sec=600).value
        codes.append((await scrape(edge, authorization=f"Bearer {secret}")).status_code)
    async with running_edge(api_keys="key-one", telemetry={"metrics_open": True}) as edge:
        codes.append((await scrape(edge)).status_code)
    assert codes == [401, 200, 401, 200]


# -- of several workers ------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_workers_are_ready_and_are_scraped_as_one(place: Workplace) -> None:
    async with running_crew(place, workers=2, maximum_sessions=3) as (one, other), httpx.AsyncClient() as client:
        with one.edge.place(), one.edge.place():
            at_one = await client.get(f"{one.url}/readyz")
            with other.edge.place():
                at_both = await client.get(f"{one.url}/readyz")
            found = families((await scrape(one, **OPEN_METRICS)).text)
            own = families((await scrape(one, **OPEN_METRICS, **{FORWARDED: "1"})).text)
    assert (at_one.status_code, at_both.status_code) == (200, 503)
    assert by_worker(found["voice_sessions_active"]) == {"0": 2, "1": 0}
    assert by_worker(found["voice_session_capacity"]) == {"0": 2, "1": 1}
    assert {sample.labels["worker"] for family in own.values() for sample in family.samples} == {"0"}


def by_worker(family: Family) -> dict[str, float]:
    return {sample.labels["worker"]: sample.value for sample in family.samples}
