"""A rolling upgrade under load: edges and replicas are replaced one after the other while twenty callers talk.

Everything is real but the cloud's weights: edges in processes of their own, one of them with two workers, an address
before them as a Kubernetes Service has it, Ray Serve on three raylets, sixteen calls over WebRTC and four over
WebSocket. Every answer tells which turn of its session it is for and how much history came with it.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError

import numpy as np
import pytest
import websockets

from edge_client.caller.client import Caller
from edge_client.caller.edge_process import EdgeProcess, edge_process
from routing.turns import Samples
from tests.cloud import ClusterCloud, cluster_cloud
from tests.front import Front, front
from tests.spoken import silence, spoken

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.calm,
    pytest.mark.ray,
    pytest.mark.models,
    pytest.mark.slow,
    pytest.mark.timeout(300),
]

CALLS, SOCKETS = 16, 4
DRAIN_SEC = 60.0
LONGEST_PAUSE_SEC = 3.0
SETTLE_SEC = 90.0
ANSWER_SEC = 10.0
MODEL: dict[str, Any] = {"items": 20, "item_sec": 0.02, "first_sec": 0.02}
ANSWER = re.compile(r"Answer (\d+) to \d+ samples after (\d+) messages")

type Json = dict[str, Any]


# -- who talks ---------------------------------------------------------------------------------------------------------


class Diary:
    """What one caller was told. Where the machine is busy a sentence may be heard as two turns: each counts."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.sessions: list[str] = []  # the ids that each server greeted with
        self.items: dict[str, str] = {}  # words by the id of their item
        self.retrieved: dict[str, str] = {}
        self.asked: set[str] = set()  # items of the user that want an answer
        self.answers = 0
        self._told = (-1, -1)  # the number of the last turn that the cloud answered, and what it knew then

    def note(self, event: Json) -> None:
        match event:
            case {"type": "session.created", "session": {"id": str(session_id)}}:
                self.sessions.append(session_id)
            case {"type": "input_audio_buffer.committed", "item_id": str(item_id)}:
                self.asked.add(item_id)
            case {"type": "conversation.item.input_audio_transcription.completed", "item_id": str(item_id)}:
                self._hear(item_id, event["transcript"])
            case {"type": "conversation.item.done", "item": item}:
                self._keep(self.items, item)
            case {"type": "conversation.item.retrieved", "item": item}:
                self._keep(self.retrieved, item)
            case {"type": "response.done", "response": response}:
                self._take(response)
            case {"type": "error", "error": {"message": str(message)}}:
                self.faults.append(message)

    def _hear(self, item_id: str, words: str) -> None:
        if words:
            self.items[item_id] = words
        else:
            self.asked.discard(item_id)  # it was no speech

    def _keep(self, items: dict[str, str], item: Json) -> None:
        if words := words_in(item):
            items[item["id"]] = words

    def _take(self, response: Json) -> None:
        self.answers += 1
        if response["status"] == "failed":
            self.faults.append(f"a turn failed: {response['status_details']}")
        for answer in ANSWER.finditer(" ".join(map(words_in, response["output"]))):
            told = int(answer[1]), int(answer[2])
            if told[0] <= self._told[0] or told[1] <= self._told[1]:
                self.faults.append(f"expected a turn and a history after {self._told}, got {told}")
            self._told = told

    async def answered(self) -> None:
        """Return when all items were told again, or will hardly be."""
        async with asyncio.timeout(ANSWER_SEC):
            while not self.items.keys() <= self.retrieved.keys():
                await asyncio.sleep(0.1)

    @property
    def lost(self) -> list[tuple[str, str]]:
        """What was said and what is known of it, where that differs; replies that were cut count as far as heard."""
        pairs = [(told, self.retrieved.get(item_id, "nothing")) for item_id, told in self.items.items()]
        return [(told, known) for told, known in pairs if not told.strip().startswith(known.strip())]


def words_in(item: Json) -> str:
    return " ".join(part.get("transcript") or part.get("text") or "" for part in item.get("content", []))


class Talker(Protocol):
    """Somebody in a call."""

    diary: Diary

    @property
    def moves_sec(self) -> list[float]: ...

    async def talk(self) -> None:
        """Say something and hear the answer."""
        ...

    async def ask_back(self) -> None:
        """Ask for all that was said."""
        ...


class Speaker:
    """Over WebRTC."""

    def __init__(self, call: Caller, diary: Diary, question: Samples) -> None:
        self.diary = diary
        self._call = call
        self._question = question

    @property
    def moves_sec(self) -> list[float]:
        return self._call.moves_sec

    async def talk(self) -> None:
        await self._call.say(self._question)
        await self._call.reply(30.0)

    async def ask_back(self) -> None:
        for item_id in self.diary.items:
            self._call.send({"type": "conversation.item.retrieve", "item_id": item_id})
        await self.diary.answered()


class Writer:
    """Over WebSocket, in writing; moves as the protocol has it."""

    def __init__(self, url: str) -> None:
        self.diary = Diary()
        self.moves_sec: list[float] = []
        self._url = url.replace("http", "ws", 1) + "/v1/realtime"
        self._ticket: str | None = None
        self._came_at = 0.0
        self._done = asyncio.Event()

    async def connect(self) -> None:
        self._socket = await websockets.connect(self._url)
        self._reading = asyncio.create_task(self._read(self._socket))

    async def close(self) -> None:
        self._reading.cancel()
        await self._socket.close()

    async def talk(self) -> None:
        if self._ticket:
            await self._move(self._ticket)
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "and now?"}]}
        self._done.clear()
        await self._send(type="conversation.item.create", item=item)
        await self._send(type="response.create", response={"output_modalities": ["text"]})
        async with asyncio.timeout(30):
            await self._done.wait()

    async def ask_back(self) -> None:
        for item_id in self.diary.items:
            await self._send(type="conversation.item.retrieve", item_id=item_id)
        await self.diary.answered()

    async def _send(self, **event: Any) -> None:
        await self._socket.send(json.dumps(event))

    async def _move(self, ticket: str) -> None:
        old, reading, self._ticket = self._socket, self._reading, None
        self._socket = await websockets.connect(self._url, open_timeout=20)
        await self._send(type="antiphon.session.restore", ticket=ticket)
        await self._socket.recv()  # the greeting of a session that nobody needs
        self._note(json.loads(await self._socket.recv()))
        self.moves_sec.append(time.monotonic() - self._came_at)
        self._reading = asyncio.create_task(self._read(self._socket))
        reading.cancel()
        await old.close()

    async def _read(self, socket: websockets.ClientConnection) -> None:
        async for message in socket:
            self._note(json.loads(message))

    def _note(self, event: Json) -> None:
        self.diary.note(event)
        match event:
            case {"type": "antiphon.session.ticket", "ticket": str(ticket)}:
                self._ticket, self._came_at = ticket, time.monotonic()
            case {"type": "response.created"}:
                self._ticket = None
            case {"type": "conversation.item.done", "item": {"role": "user", "id": str(item_id)}}:
                self.diary.asked.add(item_id)
            case {"type": "response.done"}:
                self._done.set()


@asynccontextmanager
async def talkers(url: str, question: Samples) -> AsyncIterator[list[Talker]]:
    async with AsyncExitStack() as stack:
        everybody: list[Talker] = []
        for _ in range(CALLS):
            diary = Diary()
            call = await stack.enter_async_context(Caller.connect(url, on_event=diary.note))
            everybody.append(Speaker(call, diary, question))
        for _ in range(SOCKETS):
            writer = Writer(url)
            await writer.connect()
            stack.push_async_callback(writer.close)
            everybody.append(writer)
        yield everybody


async def keep_talking(talker: Talker, over: asyncio.Event, dice: random.Random) -> None:
    """Turn after turn; who moved last says something afterwards too."""
    while True:
        last = over.is_set()
        await asyncio.sleep(dice.uniform(0.0, LONGEST_PAUSE_SEC))
        await talker.talk()
        if last:
            return


# -- what is replaced --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def edge(cloud_url: str, keys: Path, *, workers: int = 1) -> AsyncIterator[EdgeProcess]:
    settings = {
        "ANTIPHON_ENGINE": "tone",
        "ANTIPHON_WORKERS": str(workers),
        "ANTIPHON_MAXIMUM_SESSIONS": str(2 * (CALLS + SOCKETS)),
        "ANTIPHON_SIGNING_KEYS_FILE": str(keys),
        "ANTIPHON_DRAIN_SEC": str(DRAIN_SEC),
        "ANTIPHON_CLOUD__URL": cloud_url,
        "ANTIPHON_ROUTING__POLICY": "cloud",
        "ANTIPHON_TELEMETRY__FILE": "",
    }
    async with edge_process(settings=settings) as running:
        yield running


async def leave(standing: Front, old: EdgeProcess) -> tuple[float, int]:
    """Tell an edge to end; returns how long it took to empty, and its exit code. It is not helped."""
    began = time.monotonic()
    old.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(DRAIN_SEC):
        await old.ended()
    standing.edges.remove(old.url)
    code = old.process.returncode
    assert code is not None
    return time.monotonic() - began, code


async def redeployed(cloud: ClusterCloud) -> None:
    """Another version: every replica is replaced by a new one."""
    old = await processes(cloud)
    with suppress(AssertionError):  # Serve waits for a minute, and a busy machine may take longer
        other = MODEL | {"first_sec": 0.03}
        await asyncio.to_thread(cloud.deploy, replicas=2, on_nodes=True, model_settings=other)
    async with asyncio.timeout(SETTLE_SEC):
        while len(new := await processes(cloud)) < 2 or new & old:
            await asyncio.sleep(0.2)


async def processes(cloud: ClusterCloud) -> set[int]:
    """Of the replicas; none while one of them has just gone."""
    try:
        return {each["pid"] for each in await asyncio.to_thread(cloud.replicas)}
    except HTTPError:
        return set()


# -- the story ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster() -> Iterator[ClusterCloud]:
    with cluster_cloud() as cloud:
        for _ in range(3):  # one is free for a new replica, while an old one still answers
            cloud.do("add_node")
        cloud.deploy(replicas=2, on_nodes=True, model_settings=MODEL)
        yield cloud


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "signing-keys"
    file.write_text("a key that all edges of this test share".replace(" ", "-") + "\n")
    return file


@pytest.fixture
def question() -> Samples:
    return np.concatenate((silence(0.2), spoken("What is twelve times seven?"), silence(0.3)))


async def test_an_upgrade_of_all_that_answers_costs_no_turn(
    cluster: ClusterCloud, keys: Path, question: Samples, nothing_left_behind: None
) -> None:
    await upgrade(cluster.url, keys, question, replace=lambda: redeployed(cluster))


async def upgrade(
    cloud_url: str, keys: Path, question: Samples, *, replace: Callable[[], Coroutine[None, None, None]]
) -> None:
    """Replace both edges, and what ``replace`` does, while everybody talks."""
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(edge(cloud_url, keys, workers=each)) for each in (2, 1)]
        standing = await stack.enter_async_context(front(first.url, second.url))
        everybody = await stack.enter_async_context(talkers(standing.url, question))
        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for number, talker in enumerate(everybody):
                tasks.create_task(keep_talking(talker, over, random.Random(number)))
            await asyncio.sleep(8.0)
            ends = [await leave(standing, first)]
            replacing = tasks.create_task(replace())
            third = await stack.enter_async_context(edge(cloud_url, keys))
            standing.edges.append(third.url)
            ends.append(await leave(standing, second))
            await replacing
            over.set()
        for talker in everybody:
            await talker.ask_back()
    tell(everybody, ends)
    check(everybody, ends)


def tell(everybody: list[Talker], ends: list[tuple[float, int]]) -> None:
    moves = sorted(move for talker in everybody for move in talker.moves_sec)
    turns = sum(len(talker.diary.asked) for talker in everybody)
    print(  # noqa: T201 for whoever asks what happened
        f"{turns} turns of {len(everybody)} callers, {len(moves)} moves:"
        f" p50 {statistics.median(moves):.2f} s, longest {moves[-1]:.2f} s;"
        f" the edges were empty after {', '.join(f'{took_sec:.1f} s' for took_sec, _ in ends)}"
    )


def check(everybody: list[Talker], ends: list[tuple[float, int]]) -> None:
    assert [fault for talker in everybody for fault in talker.diary.faults] == []
    for talker in everybody:
        diary = talker.diary
        assert talker.moves_sec
        assert len(diary.asked) >= 3
        assert diary.answers >= len(diary.asked)  # no turn is lost
        assert diary.lost == []
        assert len(set(diary.sessions)) == 1
    assert all(code in (0, -signal.SIGTERM) for _, code in ends)
