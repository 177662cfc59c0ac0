"""One turn through real processes is one trace: the edge's spans, those of the ingress and those of the replica."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
import websockets
from prometheus_client.parser import text_string_to_metric_families

from edge_client.cloud.backend import CloudBackend
from edge_client.cloud.settings import CloudSettings
from edge_client.trace.recorded_span import RecordedSpan
from routing.contender import Contender
from routing.errors import AtCapacity
from routing.outlook import Outlook
from routing.policy import Traits
from routing.router import Router
from routing.settings import RoutingSettings
from routing.telemetry import names
from routing.telemetry.metrics import CPU_TIME, DROPPED_SPANS, ENERGY, GPU_UTILIZATION, MEMORY, METRICS, POWER, Metric
from routing.telemetry.program import open_telemetry
from routing.telemetry.settings import TelemetrySettings
from routing.telemetry.spans import Spans, trace_id_of
from routing.telemetry.traced_backend import TracedBackend
from routing.turns import Backend, HistoryItem, Message, Turn
from routing.wire import Open, decode, encode
from tests.cloud import PATIENT, Cloud, local_cloud
from tests.cloud_talk import CHUNK, Answer, Talker
from tests.cloud_trace import trace_of, written

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(280)]

REPLICAS, PLACES = 2, 2
SECRET = "the password is swordfish"  # what a caller says, and may expect to be forgotten
SAID = (SECRET, "This is part", "samples after")  # the last two are of every answer
METERS = {ENERGY, POWER, GPU_UTILIZATION}  # not every machine has any
OF_EVERY_PROCESS = {CPU_TIME, DROPPED_SPANS, MEMORY}
EVERY_MS = "2500"  # Ray tells its metrics so often, and forgets a gauge after twice the time


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every process of these tests writes its traces."""
    return tmp_path_factory.mktemp("traces") / "traces.jsonl"


@pytest.fixture(scope="module")
def cloud(file: Path) -> Iterator[Cloud]:
    arguments = {
        "replicas": {"count": REPLICAS, "maximum_turns": PLACES},
        "ingress": PATIENT,
        "model_settings": {"first_sec": 0.05, "items": 30, "item_sec": 0.02},
        "telemetry": {"file": str(file)},
    }
    with local_cloud(arguments, environment={"RAY_metrics_report_interval_ms": EVERY_MS}) as cloud:
        yield cloud


@dataclass(frozen=True, slots=True)
class Edge:
    """A router over the cloud alone, which writes its part of each trace."""

    backend: Backend
    spans: Spans

    def talker(self, session_id: str) -> Talker:
        history: list[HistoryItem] = [Message("user", SECRET)]
        return Talker(self.backend, session_id, spans=self.spans, instructions=SECRET, history=history)


@asynccontextmanager
async def edge(cloud: Cloud, file: Path) -> AsyncIterator[Edge]:
    async with open_telemetry(TelemetrySettings(file=str(file)), service=names.EDGE) as telemetry:
        spans = telemetry.spans(names.EDGE)
        remote = TracedBackend(
            CloudBackend(CloudSettings(url=cloud.url, connect_timeout_sec=20.0)), spans=spans, is_remote=True
        )
        contender = Contender(remote, Outlook("cloud", Traits(is_remote=True)))
        yield Edge(Router([contender], settings=RoutingSettings(policy="cloud")), spans)


STRANGER = {"traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-03"}
GENERATE = "generate_content metronome"
WHOLE = (names.TURN, names.INFER_REQUEST, names.INGRESS_TURN, GENERATE)


async def test_a_turn_is_one_trace_from_the_edge_to_the_phases_of_the_replica(cloud: Cloud, file: Path) -> None:
    async with edge(cloud, file) as caller:
        answer = await caller.talker("sess_tree").say()
    trace = await trace_of(file, answer.turn, *WHOLE)
    chain = [trace.one(name) for name in (*WHOLE[:3], names.REPLICA_REQUEST, GENERATE)]
    assert [span.service for span in chain] == [names.EDGE, names.EDGE, names.INGRESS, names.INGRESS, names.REPLICA]
    assert [span.kind for span in chain] == ["internal", "client", "server", "client", "server"]
    assert all(child.parent_id == parent.span_id for parent, child in pairwise(chain))
    root, _, door, request, model = chain
    assert not root.parent_id
    assert [span.name for span in trace.children(request)] == [names.REPLICA_RESERVE, names.REPLICA_WELCOME, GENERATE]
    phases = trace.children(model)
    assert [span.name for span in phases] == [names.QUEUE_WAIT, names.STREAM]
    assert all(before.end_ns < after.begin_ns for before, after in pairwise(phases))
    assert all(model.begin_ns <= span.begin_ns and span.end_ns <= model.end_ns for span in phases)
    assert (door.attributes[names.ATTEMPT_OUTCOME], door.attributes[names.REPLICAS_TRIED]) == ("told", 1)
    assert (model.attributes[names.ATTEMPT_OUTCOME], model.attributes[names.SLOTS_IN_USE]) == ("told", 0)
    assert model.attributes[names.QUEUE_WAIT_MS] == pytest.approx(phases[0].duration_ms, abs=0.51)  # rounded
    await assert_linked_with_its_batch(file, model, phases[0])


async def assert_linked_with_its_batch(file: Path, model: RecordedSpan, wait: RecordedSpan) -> None:
    (link,) = wait.links
    batch = next(span for span in await asyncio.to_thread(written, file) if (span.trace_id, span.span_id) == link)
    assert (batch.name, batch.kind, batch.parent_id) == (names.STEP_WINDOW, "consumer", "")
    assert batch.trace_id != wait.trace_id
    assert batch.links == ((model.trace_id, model.span_id),)


async def test_an_answer_that_was_asked_for_too_early_is_beside_the_one_that_counts(cloud: Cloud, file: Path) -> None:
    async with edge(cloud, file) as caller:
        with rooted(caller, "early") as turn:
            async with caller.backend.open(turn, on_heard=lambda _: None) as exchange:
                exchange.feed(CHUNK)
                async with aclosing(exchange.reply()) as early:
                    await anext(early)
                exchange.feed(CHUNK)
                reply = exchange.reply()
                exchange.commit()
                assert [event async for event in reply]
    trace = await trace_of(file, turn, *WHOLE)
    attempts = trace.named(GENERATE)
    assert [span.attributes[names.ATTEMPT_OUTCOME] for span in attempts] == ["rolled_back", "told"]
    assert [span.attributes[names.ATTEMPT] for span in attempts] == [1, 2]
    assert {span.parent_id for span in attempts} == {trace.one(names.REPLICA_REQUEST).span_id}


@contextmanager
def rooted(caller: Edge, turn_id: str) -> Iterator[Turn]:
    """A turn that is a trace."""
    clock = asyncio.get_running_loop().time
    root = caller.spans.begin(names.TURN, at=clock())
    yield Turn(session_id=f"sess_{turn_id}", turn_id=turn_id, index=0, trace_context=root.carrier)
    root.end(at=clock())


async def test_of_a_cough_nothing_is_written(cloud: Cloud, file: Path) -> None:
    async with edge(cloud, file) as caller:
        cough = Turn(session_id="sess_cough", turn_id="cough", index=0, trace_context=STRANGER)
        async with caller.backend.open(cough, on_heard=lambda _: None) as exchange:
            exchange.feed(CHUNK)
        answer = await caller.talker("sess_after").say()
    await trace_of(file, answer.turn, *WHOLE)
    assert not [span for span in await asyncio.to_thread(written, file) if span.trace_id == trace_id_of(STRANGER)]


async def test_a_refused_turn_shows_who_refused_it(cloud: Cloud, file: Path) -> None:
    async with edge(cloud, file) as caller, AsyncExitStack() as held:
        await until_nobody_is_there(cloud)
        for number in range(REPLICAS * PLACES):
            socket = await held.enter_async_context(websockets.connect(cloud.url + "/v1/turns", compression=None))
            await socket.send(encode(Open(Turn(session_id=f"held_{number}", turn_id="t", index=0))))
            decode(await socket.recv())
        with rooted(caller, "late") as turn, pytest.raises(AtCapacity):
            async with caller.backend.open(turn, on_heard=lambda _: None) as exchange:
                exchange.feed(CHUNK)
                exchange.commit()
                await anext(exchange.reply())
    trace = await trace_of(file, turn, names.TURN, names.INFER_REQUEST, names.INGRESS_TURN)
    door, requests = trace.one(names.INGRESS_TURN), trace.named(names.REPLICA_REQUEST)
    assert (door.error, door.attributes[names.ATTEMPT_OUTCOME]) == ("at_capacity", "refused")
    full = [span for span in requests if span.error == "at_capacity"]
    assert len({span.attributes[names.REPLICA_ID] for span in full}) == REPLICAS
    assert full[1].links == ((full[0].trace_id, full[0].span_id),)
    assert not trace.named(GENERATE)


async def until_nobody_is_there(cloud: Cloud) -> None:
    while any(replica["turns"] for replica in await asyncio.to_thread(cloud.replicas)):
        await asyncio.sleep(0.05)


async def test_a_replica_that_is_killed_is_followed_by_another_in_the_same_trace(cloud: Cloud, file: Path) -> None:
    await until_nobody_is_there(cloud)
    async with edge(cloud, file) as caller:
        replica = Doomed(cloud)
        answer = await caller.talker("sess_moving").say(before_the_end=replica.find, while_answered=replica.kill)
    trace = await trace_of(file, answer.turn, *WHOLE)
    dead, alive = trace.named(names.REPLICA_REQUEST)
    assert dead.attributes[names.REPLICA_ID] == replica.name
    assert dead.error.startswith("unavailable: ")
    assert alive.links == ((dead.trace_id, dead.span_id),)
    assert (alive.attributes[names.RETRY_REASON], alive.error) == ("unavailable", "")
    assert dead.end_ns < alive.begin_ns
    assert trace.one(GENERATE).parent_id == alive.span_id
    door = trace.one(names.INGRESS_TURN)
    assert (door.attributes[names.ATTEMPT_OUTCOME], door.attributes[names.REPLICAS_TRIED]) == ("told", 2)


@dataclass(slots=True)
class Doomed:
    """The replica that has the only turn. It is known before it answers: once it sounds, there is little time."""

    cloud: Cloud
    name: str = ""
    pid: int | None = None

    async def find(self) -> None:
        while not (found := [each for each in await asyncio.to_thread(self.cloud.replicas) if each["turns"]]):
            await asyncio.sleep(0.05)
        (replica,) = found
        self.name, self.pid = replica["replica"], replica["pid"]

    def kill(self, answer: Answer) -> None:
        if answer.sound_sec and self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            self.pid = None


async def test_nothing_that_was_said_is_written(file: Path) -> None:
    text = (await asyncio.to_thread(file.read_bytes)).decode()
    assert "sess_moving" in text
    assert [said for said in SAID if said in text] == []


# -- metrics -----------------------------------------------------------------------------------------------------------


async def test_every_metric_of_the_cloud_is_shown_by_ray(cloud: Cloud) -> None:
    expected = {metric for metric in METRICS if metric.place in {"cloud", "both"}} - METERS
    seen: dict[str, Family] = {}
    async with asyncio.timeout(60):  # each process tells in its own time
        while [metric.name for metric in expected if not told_by(metric) <= shown(seen, metric).deployments]:
            for name, family in (await asyncio.to_thread(scraped, cloud.metrics_url)).items():
                seen[name] = family | seen.get(name, NOTHING)
            await asyncio.sleep(0.5)
    for metric in expected:
        family = shown(seen, metric)
        assert family.labels >= {*metric.labels, "replica", "deployment", "application"}
        assert family.deployments == told_by(metric)
        assert family.bounds == {*metric.bounds, math.inf} if metric.bounds else not family.bounds


@dataclass(frozen=True, slots=True)
class Family:
    """What scrapes show of one metric."""

    labels: set[str] = field(default_factory=set)
    deployments: set[str] = field(default_factory=set)
    bounds: set[float] = field(default_factory=set)  # of a histogram's buckets

    def __or__(self, other: Family) -> Family:
        return Family(self.labels | other.labels, self.deployments | other.deployments, self.bounds | other.bounds)


NOTHING = Family()


def told_by(metric: Metric) -> set[str]:
    """The deployments that have such figures."""
    return {"ingress", "replica"} if metric in OF_EVERY_PROCESS else {"replica"}


def shown(seen: Mapping[str, Family], metric: Metric) -> Family:
    return seen.get("ray_" + metric.prometheus_name, NOTHING)


def scraped(url: str) -> dict[str, Family]:
    """By the names of the table."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode()
    families: dict[str, Family] = {}
    for found in text_string_to_metric_families(text):
        for sample in found.samples:
            name = sample.name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")
            family = families.setdefault(name, Family())
            family.labels.update(sample.labels)
            family.deployments.add(sample.labels.get("deployment", ""))
            family.bounds.update(float(sample.labels["le"]) for _ in range("le" in sample.labels))
    return families
