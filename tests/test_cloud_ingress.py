"""The door of the cloud on a real Ray: whatever callers do there, who behaves is answered, and nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pytest
import uvicorn
import websockets
from pydantic import SecretStr
from starlette.applications import Starlette
from websockets.exceptions import ConnectionClosed, InvalidStatus

from deployments.settings import IngressSettings
from edge_client.cloud.backend import CloudBackend
from edge_client.cloud.exchange import CloudExchange
from edge_client.cloud.heartbeat import Heartbeat
from edge_client.cloud.settings import CloudSettings
from routing.errors import AtCapacity
from routing.outlook import Outlook
from routing.policy import Traits
from routing.telemetry.settings import TelemetrySettings
from routing.turns import SPEECH_SAMPLE_RATE, AudioChunk, Heard, ReplyEnd, ReplyEvent, TextDelta, Turn
from routing.wire import Ask, Commit, Message, Open, Ping, Pong, Refused, Speech, Welcome, decode, encode
from tests.cloud import PATIENT, Cloud, local_cloud
from tests.cloud_models import CLAUSES, answer_to
from tests.cloud_talk import CHUNK, Talker

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(280)]

REPLICAS = 3
PLACES = 12  # at each
OPEN_SEC, IDLE_SEC = 2.0, 3.0
SESSIONS = 30
CONNECT_SEC = 30.0  # for many who come at once, while the machine has other things to do
SPARE = 10  # descriptors that Ray may come to use meanwhile

TURN = Turn(session_id="s", turn_id="t", index=0)
OPEN, ASK, COMMIT = encode(Open(TURN)), encode(Ask(1)), encode(Commit(1))
SPEECH = encode(Speech(AudioChunk(np.zeros(1600, np.float32), SPEECH_SAMPLE_RATE)))


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    arguments = {
        "replicas": {"count": REPLICAS, "maximum_turns": PLACES},
        "ingress": {"open_sec": OPEN_SEC, "idle_sec": IDLE_SEC, **PATIENT},
        "model_settings": {"items": 10, "item_sec": 0.01},
    }
    with local_cloud(arguments) as cloud:
        yield cloud


def backend_of(cloud: Cloud) -> CloudBackend:
    return CloudBackend(CloudSettings(url=cloud.url, connect_timeout_sec=CONNECT_SEC))


def connected(cloud: Cloud) -> websockets.connect:
    """The connection of a turn."""
    return websockets.connect(cloud.url + "/v1/turns", compression=None, max_size=None, open_timeout=CONNECT_SEC)


async def open_turns(cloud: Cloud) -> int:
    return sum(replica["turns"] for replica in await asyncio.to_thread(cloud.replicas))


async def until(holds: Callable[[], Any]) -> None:
    while not await holds():
        await asyncio.sleep(0.1)


async def until_nobody_is_there(cloud: Cloud) -> None:
    async def is_empty() -> bool:
        return await open_turns(cloud) == 0

    await until(is_empty)


def descriptors_of_the_ingress(cloud: Cloud) -> int:
    """How many the process has open that listens on the cloud's port."""
    mark = f"RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT={urlsplit(cloud.url).port}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b":ingress" in (process / "cmdline").read_bytes() and mark in (process / "environ").read_bytes():
                return len(list((process / "fd").iterdir()))
        except OSError:
            continue  # it has ended
    raise AssertionError("there is no ingress")


class Objection(NamedTuple):
    """How a connection ended."""

    refused: Refused
    code: int


async def objection_to(cloud: Cloud, *frames: bytes | str) -> Objection:
    """Say this on a connection of a turn, and nothing more."""
    told: list[Message] = []
    async with connected(cloud) as socket:
        with contextlib.suppress(ConnectionClosed):  # while something is still being said
            for frame in frames:
                await socket.send(frame)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                told.append(decode(await socket.recv()))
    assert closed.value.rcvd is not None
    refused = told[-1]
    assert isinstance(refused, Refused)
    return Objection(refused, closed.value.rcvd.code)


# -- bad input ---------------------------------------------------------------------------------------------------------

WRONG_RATE = struct.pack("<BBI", 1, 2, 24_000) + bytes(3200)
BAD: dict[str, tuple[list[bytes | str], str]] = {
    "a foreign version": ([bytes([9, 1]) + b"{}"], "expected version 1 of the protocol, got 9"),
    "noise": ([bytes([1, 200]) + bytes(range(256))], "expected a kind of message that this version knows, got 200"),
    "half a message": ([OPEN[: len(OPEN) // 2]], "expected JSON, got something else"),
    "one byte at a time": ([b"\x01"] * 20, "expected a message of at least 2 bytes, got 1"),
    "text": (["hello"], "expected a binary message, got text"),
    "an oversized message": ([OPEN, bytes([1, 2]) + bytes(2**21)], "expected a message of at most 1048576 bytes, got"),
    "no Open": ([SPEECH], "expected Open as the first message, got Speech"),
    "a second Open": ([OPEN, OPEN], "expected Speech, Ask, RollBack or Commit, got Open"),
    "another sample rate": ([OPEN, WRONG_RATE], "expected sound at 16000 Hz, got 24000"),
    "half a sample": ([OPEN, SPEECH + b"\x00"], "expected whole 16-bit samples"),
    "a commit without sound": (
        [OPEN, ASK, COMMIT],
        "expected speech, a question at the end of the history or a script",
    ),
    "a commit without Ask": ([OPEN, SPEECH, COMMIT], "expected Commit of an attempt, and none is open, got 1"),
    "Ask twice": ([OPEN, SPEECH, ASK, ASK], "expected RollBack or Commit of attempt 1, got Ask"),
    "a commit of another attempt": ([OPEN, SPEECH, ASK, encode(Commit(2))], "expected Commit of attempt 1, got 2"),
    "what only a cloud says": ([OPEN, encode(Welcome("me"))], "got Welcome"),
    "nothing at all": ([], f"expected a message within {OPEN_SEC:g} s, got none"),
    "nothing but pings": ([encode(Ping(1)), encode(Ping(2))], f"expected a message within {OPEN_SEC:g} s, got none"),
    "nothing after Open": ([OPEN], f"expected a message within {IDLE_SEC:g} s, got none"),
}


async def test_who_breaks_the_protocol_is_told_how_while_others_are_answered(cloud: Cloud) -> None:
    before = await asyncio.to_thread(descriptors_of_the_ingress, cloud)
    polite = Talker(backend_of(cloud), "sess_polite")
    async with asyncio.TaskGroup() as tasks:
        objections = {name: tasks.create_task(objection_to(cloud, *frames)) for name, (frames, _) in BAD.items()}
        tasks.create_task(polite.say())
    for name, (_, told) in BAD.items():
        refused, code = objections[name].result()
        assert told in refused.message, name
        assert (refused.attempt, code) == (0, 1002), name
    answer = await polite.say()
    assert answer.text == "".join(answer_to(answer.turn, 5 * len(CHUNK.samples)))
    await until_nobody_is_there(cloud)
    await until_descriptors_are_back(cloud, before)


async def until_descriptors_are_back(cloud: Cloud, before: int) -> None:
    async def are_back() -> bool:
        return await asyncio.to_thread(descriptors_of_the_ingress, cloud) <= before + SPARE

    await until(are_back)


async def test_a_hundred_callers_who_vanish_leave_nothing_behind(cloud: Cloud) -> None:
    before = await asyncio.to_thread(descriptors_of_the_ingress, cloud)

    async def vanish(number: int) -> None:
        async with connected(cloud) as socket:
            for frame in (OPEN, SPEECH, ASK, COMMIT)[: number % 5]:
                await socket.send(frame)
            socket.transport.abort()

    async with asyncio.TaskGroup() as tasks:
        for number in range(100):
            tasks.create_task(vanish(number))
    await until_nobody_is_there(cloud)
    answer = await Talker(backend_of(cloud), "sess_after").say()
    assert answer.end is not None
    await until_descriptors_are_back(cloud, before)


async def test_a_ping_during_a_turn_is_answered(cloud: Cloud) -> None:
    async with connected(cloud) as socket:
        await socket.send(encode(Ping(7)))
        pong = decode(await socket.recv())
        assert isinstance(pong, Pong)
        assert (pong.number, pong.load.slots) == (7, REPLICAS * 64)


# -- who may come in ---------------------------------------------------------------------------------------------------


@pytest.fixture
def ingress() -> Callable[[IngressSettings], Starlette]:
    """The ingress by itself: what it does before there is any need for a replica."""
    from deployments.ingress import Ingress  # it brings Ray

    nobody: Any = None
    return lambda settings: Ingress(nobody, settings, TelemetrySettings()).__serve_build_asgi_app__()


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off", ws="websockets-sansio"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


async def turned_away(url: str, key: str = "") -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with pytest.raises(InvalidStatus) as error:
        async with websockets.connect(url, additional_headers=headers):
            pass
    response = error.value.response
    return response.status_code, bytes(response.body or b"").decode()


async def test_only_who_has_a_key_comes_in(ingress: Callable[[IngressSettings], Starlette]) -> None:
    keys = (SecretStr("right"), SecretStr("also"))
    async with served(ingress(IngressSettings(keys=keys, open_sec=0.1))) as url:
        for path in ("/v1/turns", "/v1/heartbeat"):
            for key in ("", "wrong", "righ", "Bearer"):
                assert await turned_away(url + path, key) == (401, "expected a bearer token that is known here")
        async with websockets.connect(url + "/v1/turns", additional_headers={"Authorization": "Bearer also"}) as socket:
            assert decode(await socket.recv()) == Refused(0, "timeout", "expected a message within 0.1 s, got none")


async def test_a_file_without_keys_lets_nobody_in(
    ingress: Callable[[IngressSettings], Starlette], tmp_path: Path
) -> None:
    async with served(ingress(IngressSettings(keys_file=tmp_path / "keys"))) as url:
        for key in ("", "any"):
            assert (await turned_away(url + "/v1/turns", key))[0] == 401


async def test_a_path_that_leads_nowhere_is_named(ingress: Callable[[IngressSettings], Starlette]) -> None:
    async with served(ingress(IngressSettings())) as url:
        expected = (404, "expected /v1/turns or /v1/heartbeat, got /v1/turn")
        assert await turned_away(url + "/v1/turn") == expected


# -- the edge's own client ---------------------------------------------------------------------------------------------


async def test_an_attempt_is_rolled_back_and_the_next_one_answered(cloud: Cloud) -> None:
    turn = Turn(session_id="sess_twice", turn_id="twice", index=0)
    async with backend_of(cloud).open(turn, on_heard=lambda _: None) as exchange:
        exchange.feed(CHUNK)
        async with aclosing(exchange.reply()) as early:
            first = await anext(early)
        exchange.feed(CHUNK)
        told: list[ReplyEvent] = []
        async with aclosing(exchange.reply()) as reply:
            async for event in reply:
                if not told:
                    exchange.commit()
                told.append(event)
    samples = len(CHUNK.samples)
    assert first == Heard(f"{samples} samples", is_final=True)
    assert told[0] == Heard(f"{2 * samples} samples", is_final=True)
    assert "".join(it.text for it in told if isinstance(it, TextDelta)) == "".join(answer_to(turn, 2 * samples))
    assert isinstance(told[-1], ReplyEnd)


async def test_hanging_up_frees_the_replica(cloud: Cloud) -> None:
    turn = Turn(session_id="sess_gone", turn_id="gone", index=0)
    async with backend_of(cloud).open(turn, on_heard=lambda _: None) as exchange:
        exchange.feed(CHUNK)
        async with aclosing(exchange.reply()) as reply:
            exchange.commit()
            await anext(reply)
    await until_nobody_is_there(cloud)


async def test_the_heartbeat_tells_how_full_the_cloud_is(cloud: Cloud) -> None:
    told: asyncio.Queue[int] = asyncio.Queue()

    class Witness(Outlook):
        def note_load(self, load: Any, now: float) -> None:
            super().note_load(load, now)
            told.put_nowait(load.slots)

    witness = Witness("cloud", Traits(is_remote=True))
    beating = asyncio.create_task(Heartbeat(CloudSettings(url=cloud.url, heartbeat_sec=0.05), witness).run())
    assert [await told.get() for _ in range(3)] == [REPLICAS * 64] * 3
    beating.cancel()
    await asyncio.wait([beating])


@asynccontextmanager
async def taken_places(cloud: Cloud, count: int) -> AsyncIterator[None]:
    """So many callers who go on speaking: those who say nothing lose their places."""
    placed = asyncio.Semaphore(0)

    async def speak(number: int) -> None:
        async with connected(cloud) as socket:
            await socket.send(encode(Open(Turn(session_id=f"full_{number}", turn_id="t", index=0))))
            assert isinstance(decode(await socket.recv()), Welcome)
            placed.release()
            while True:
                await socket.send(SPEECH)
                await asyncio.sleep(IDLE_SEC / 3)

    async with asyncio.TaskGroup() as tasks:
        speaking = [tasks.create_task(speak(number)) for number in range(count)]
        for _ in speaking:
            await placed.acquire()
        yield
        for caller in speaking:
            caller.cancel()


async def test_a_full_cloud_says_so_at_once_and_when_to_come_back(cloud: Cloud) -> None:
    await until_nobody_is_there(cloud)
    async with taken_places(cloud, REPLICAS * PLACES):
        with pytest.raises(AtCapacity, match=f"expected fewer than {PLACES} turns") as refusal:
            await Talker(backend_of(cloud), "sess_late").say()
        assert refusal.value.retry_after_sec > 0
    await until_nobody_is_there(cloud)
    assert (await Talker(backend_of(cloud), "sess_late").say()).end is not None


# -- sessions ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class NotingBackend:
    """Notes which replica answered each turn of each session."""

    cloud: CloudBackend
    name: str = "cloud"
    replicas: dict[str, list[str | None]] = field(default_factory=dict)

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[CloudExchange]:
        async with self.cloud.open(turn, on_heard=on_heard) as exchange:
            yield exchange
            self.replicas.setdefault(turn.session_id, []).append(exchange.replica)


async def all_say(talkers: list[Talker]) -> None:
    """A turn each, ten at a time."""
    places = asyncio.Semaphore(10)

    async def say(talker: Talker) -> None:
        async with places:
            answer = await talker.say(chunk_sec=0.0)
        assert answer.text == "".join(answer_to(answer.turn, 5 * len(CHUNK.samples)))
        assert answer.end is not None
        assert f"after {2 * answer.turn.index} messages" in answer.text
        assert answer.text.count("part") == CLAUSES - 1

    async with asyncio.TaskGroup() as tasks:
        for talker in talkers:
            tasks.create_task(say(talker))


async def test_sessions_stay_where_they_are_and_only_those_of_a_dead_replica_move(cloud: Cloud) -> None:
    noting = NotingBackend(backend_of(cloud))
    talkers = [Talker(noting, f"sess_{number}") for number in range(SESSIONS)]
    for _ in range(3):
        await all_say(talkers)
    stayed = sum(len(set(replicas)) == 1 for replicas in noting.replicas.values())
    assert stayed >= 0.95 * SESSIONS
    homes = {session: replicas[-1] for session, replicas in noting.replicas.items()}
    assert len(set(homes.values())) == REPLICAS

    doomed = (await asyncio.to_thread(cloud.replicas))[0]
    os.kill(doomed["pid"], signal.SIGKILL)
    await all_say(talkers)
    moved = {session for session, replicas in noting.replicas.items() if replicas[-1] != homes[session]}
    assert moved == {session for session, home in homes.items() if home == doomed["replica"]}
