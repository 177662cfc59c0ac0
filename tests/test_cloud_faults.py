"""Whatever happens in the cloud, every turn is answered: real Ray on three raylets, real sockets, real signals."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from edge_client.cloud.backend import CloudBackend
from edge_client.cloud.heartbeat import Heartbeat
from edge_client.cloud.settings import CloudSettings
from edge_client.network.relay import Address, Relay, open_relay
from routing.breaker import Breaker
from routing.contender import Contender
from routing.outlook import Outlook
from routing.policy import Traits
from routing.router import Router
from routing.settings import RoutingSettings
from tests.cloud import ClusterCloud, cluster_cloud
from tests.cloud_models import CLAUSES, MetronomeBackend, Script, answer_to
from tests.cloud_talk import CHUNK, Answer, Talker

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]

SESSIONS = 20
TURNS = 200
MODEL: dict[str, Any] = {"items": 20, "item_sec": 0.02, "first_sec": 0.02}
CLOUD = Traits(is_remote=True, quality_sec=0.5, scripts=False)
DISTRUST_SEC = 5.0  # at most, of a cloud that keeps failing: a test has no minute to wait
SETTLE_SEC = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterCloud]:
    with cluster_cloud() as cloud:
        cloud.do("add_node")
        cloud.do("add_node")
        cloud.deploy(replicas=2, on_nodes=True, model_settings=MODEL)
        yield cloud


@dataclass(frozen=True, slots=True)
class Edge:
    """What stands at the caller's end: a router over a device and the cloud, with a way between that can be bad."""

    router: Router
    way: Relay
    outlook: Outlook


@asynccontextmanager
async def edge(cloud: ClusterCloud) -> AsyncIterator[Edge]:
    """Answers with the cloud where that is possible at all. The device runs the same model, so answers can be told."""
    port = urlsplit(cloud.url).port
    assert port
    async with open_relay(Address("127.0.0.1", port)) as (way, address), asyncio.TaskGroup() as tasks:
        settings = CloudSettings(url=f"ws://{address}", heartbeat_sec=0.5, heartbeat_timeout_sec=1.0)
        outlook = Outlook("cloud", CLOUD, breaker=Breaker(longest_sec=DISTRUST_SEC))
        beating = tasks.create_task(Heartbeat(settings, outlook).run())
        device = Contender.here(MetronomeBackend(Script(**MODEL), name="device"))
        contenders = [device, Contender(CloudBackend(settings), outlook)]
        yield Edge(Router(contenders, settings=RoutingSettings(policy="cloud")), way, outlook)
        beating.cancel()


# -- what may happen -------------------------------------------------------------------------------------------------

type Fault = Callable[[ClusterCloud, Edge], Awaitable[None]]


async def replica_is_killed(cloud: ClusterCloud, _: Edge) -> None:
    os.kill(await busy(cloud), signal.SIGKILL)
    await until_running(cloud, 2)


async def replica_stalls(cloud: ClusterCloud, _: Edge) -> None:
    pid = await busy(cloud)
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(2.0)
    os.kill(pid, signal.SIGCONT)


async def way_is_black_hole(_: ClusterCloud, edge: Edge) -> None:
    edge.way.swallow()
    await asyncio.sleep(2.0)
    edge.way.restore()


async def replicas_come(cloud: ClusterCloud, _: Edge) -> None:
    await asyncio.to_thread(cloud.do, "add_node")
    await asyncio.to_thread(cloud.deploy, replicas=3, on_nodes=True, model_settings=MODEL)
    await until_running(cloud, 3)


async def raylet_is_killed(cloud: ClusterCloud, _: Edge) -> None:
    await asyncio.to_thread(cloud.do, "kill_node")
    await until_running(cloud, 2)


async def replicas_go(cloud: ClusterCloud, _: Edge) -> None:
    await asyncio.to_thread(cloud.deploy, replicas=1, on_nodes=True, model_settings=MODEL)
    await until_running(cloud, 1)


async def redeployed(cloud: ClusterCloud, _: Edge) -> None:
    """Another version: every replica is replaced by a new one."""
    old = {each["pid"] for each in await replicas_of(cloud)}
    other = MODEL | {"first_sec": 0.03}
    await asyncio.to_thread(cloud.deploy, replicas=1, on_nodes=True, model_settings=other)
    await until(lambda pids: bool(pids) and not pids & old, cloud)


FAULTS: tuple[Fault, ...] = (
    replica_is_killed,
    replica_stalls,
    way_is_black_hole,
    replicas_come,
    raylet_is_killed,
    replicas_go,
    redeployed,
)


async def replicas_of(cloud: ClusterCloud) -> list[dict[str, Any]]:
    """Those who answer; none while nobody tells: one of them has just died, or the way there is made anew."""
    try:
        return await asyncio.to_thread(cloud.replicas)
    except OSError:
        return []


async def busy(cloud: ClusterCloud) -> int:
    """The process of the replica that answers most turns at the moment."""
    while not (replicas := await replicas_of(cloud)):
        await asyncio.sleep(0.1)
    pid: int = max(replicas, key=lambda replica: replica["turns"])["pid"]
    return pid


async def until_running(cloud: ClusterCloud, count: int) -> None:
    await until(lambda pids: len(pids) == count, cloud)


async def until(condition: Callable[[set[int]], bool], cloud: ClusterCloud) -> None:
    async with asyncio.timeout(SETTLE_SEC):
        while not condition({each["pid"] for each in await replicas_of(cloud)}):
            await asyncio.sleep(0.1)


# -- the stories -----------------------------------------------------------------------------------------------------


async def test_two_hundred_turns_are_answered_come_what_may(nothing_left_behind: None, cluster: ClusterCloud) -> None:
    async with edge(cluster) as caller:
        talkers = [Talker(caller.router, f"sess_{number}") for number in range(SESSIONS)]
        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for talker in talkers:
                tasks.create_task(keep_talking(talker, over))
            for fault in FAULTS:
                await fault(cluster, caller)
                await until_cloud_answers_all(talkers)
            over.set()
        await until_cloud_answers(caller)
        answers = [answer for talker in talkers for answer in talker.answers]
        told = Counter(" then ".join(answer.backends) for answer in answers)
        print(f"{len(answers)} turns: {dict(told)}")  # noqa: T201 for whoever asks what happened
        assert len(answers) >= TURNS
        assert all(is_right(answer) for answer in answers)
        await until_idle(cluster)


async def keep_talking(talker: Talker, over: asyncio.Event) -> None:
    while not over.is_set() or len(talker.answers) < TURNS // SESSIONS:
        await talker.say()
        await asyncio.sleep(0.2)


def is_right(answer: Answer) -> bool:
    """The session's history was known, and no part was told twice or out of order."""
    samples = 5 * len(CHUNK.samples)
    whole = answer_to(answer.turn, samples)
    parts = [part for part in whole if part in answer.text]
    told_once = answer.text == "".join(parts) and parts == whole[: len(parts)]
    history = len(answer.turn.history) == 2 * answer.turn.index
    complete = len(parts) == CLAUSES or len(answer.backends) > 1
    return answer.end is not None and history and told_once and complete and len(answer.heard) == 1


async def until_cloud_answers_all(talkers: list[Talker]) -> None:
    """Whatever went wrong is over: as many turns as there are sessions are the cloud's again."""

    def answered() -> int:
        return sum(answer.backends == ["cloud"] for talker in talkers for answer in talker.answers)

    wanted = answered() + SESSIONS
    async with asyncio.timeout(SETTLE_SEC):
        while answered() < wanted:
            await asyncio.sleep(0.1)


async def until_cloud_answers(caller: Edge) -> None:
    """It is trusted again once it has come back."""
    talker = Talker(caller.router, "sess_after")
    deadline = asyncio.get_running_loop().time() + SETTLE_SEC
    while (answer := await talker.say()).backends != ["cloud"]:
        assert asyncio.get_running_loop().time() < deadline, answer.placements
        await asyncio.sleep(0.5)


async def until_idle(cloud: ClusterCloud) -> None:
    """No replica holds a turn that nobody wants any more."""
    async with asyncio.timeout(SETTLE_SEC):
        while any(each["turns"] for each in await replicas_of(cloud)):
            await asyncio.sleep(0.1)


async def test_an_interruption_frees_the_replica(nothing_left_behind: None, cluster: ClusterCloud) -> None:
    async with edge(cluster) as caller:
        talker = Talker(caller.router, "sess_interrupting")
        talking = asyncio.create_task(talker.say())
        while not any(each["turns"] for each in await replicas_of(cluster)):
            await asyncio.sleep(0.01)
        talking.cancel()
        await asyncio.wait([talking])
        await until_idle(cluster)
