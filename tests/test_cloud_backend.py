"""Turns over real sockets to a scripted cloud: in order, cancelled at once, and each fault by its name."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_client.cloud.backend import CloudBackend
from edge_client.cloud.exchange import CloudExchange
from edge_client.cloud.settings import CloudSettings
from edge_client.cloud.track import MAXIMUM_EVENTS
from routing.errors import AtCapacity, BackendError, BackendUnavailable, SettingsError, UnsuitedTurn
from routing.turns import (
    AudioChunk,
    Heard,
    Message,
    Placement,
    Reminder,
    ReplyEnd,
    ReplyEvent,
    Samples,
    TextDelta,
    Tool,
    ToolCall,
    Turn,
)
from routing.wire import Ask, Commit, Open, Refused, RollBack, Speech
from tests.cloud_server import REPLICA, CloudServer, Faults, cloud_server
from tests.scripted import Script, ScriptedBackend, say, tone

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

TURN = Turn(
    session_id="sess_1",
    turn_id="turn_1",
    index=0,
    history=(Message("user", "hello"), Message("assistant", "hello, you")),
    tools=(Tool("weather", "Tells the weather.", {"type": "object"}),),
    trace_context={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a\r\nb: c"},
)


def chunk(level: float = 0.25, count: int = 1280) -> AudioChunk:
    return AudioChunk(np.full(count, level, np.float32), 16_000)


@asynccontextmanager
async def cloud_turn(
    *scripts: Script,
    faults: Faults | None = None,
    turn: Turn = TURN,
    on_heard: Callable[[Heard], None] = lambda heard: None,
    partials: tuple[str, ...] = (),
) -> AsyncIterator[tuple[CloudServer, CloudExchange, ScriptedBackend]]:
    """A turn that is open, in a cloud that follows the scripts."""
    scripted = ScriptedBackend(*scripts, partials=partials)
    async with cloud_server(scripted, faults=faults) as cloud:
        backend = CloudBackend(CloudSettings(url=cloud.url, connect_timeout_sec=5.0))
        async with backend.open(turn, on_heard=on_heard) as exchange:
            yield cloud, exchange, scripted


async def answer(exchange: CloudExchange) -> list[ReplyEvent]:
    async with aclosing(exchange.reply()) as events:
        return [event async for event in events]


def script_of(*events: ReplyEvent) -> Script:
    async def script(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        for event in events:
            yield event

    return script


async def endless(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
    yield TextDelta("well")
    while True:
        yield AudioChunk(tone(0.08), 24_000)
        await asyncio.sleep(0)


# -- a turn that goes well -------------------------------------------------------------------------------------------


async def test_every_kind_of_event_comes_through() -> None:
    sound = AudioChunk(np.array([0.0, 0.5, -0.25], np.float32), 24_000)
    events: list[ReplyEvent] = [
        Heard("what time is it", is_final=True, end_of_sentence=0.75),
        Placement("engine", "only replica", {"engine": 0.25}),
        TextDelta("It is ten past "),
        sound,
        ToolCall("call_1", "weather", "{}"),
        Reminder(60.0, "tea"),
        ReplyEnd({"prefill": 12.5}, input_tokens=3, output_tokens=4),
    ]
    async with cloud_turn(script_of(*events)) as (cloud, exchange, scripted):
        exchange.feed(chunk())
        came = await answer(exchange)
        exchange.commit()
        await cloud.until_received(Commit)
        assert scripted.exchanges[0].committed
        assert exchange.replica == REPLICA
    assert [event for event in came if not isinstance(event, AudioChunk)] == [it for it in events if it is not sound]
    (came_sound,) = (event for event in came if isinstance(event, AudioChunk))
    np.testing.assert_array_equal(came_sound.samples, sound.samples)
    assert scripted.turns == [TURN]


async def test_what_was_fed_before_the_connection_stood_arrives_first_and_in_order() -> None:
    levels = [number / 64 for number in range(40)]
    async with cloud_turn() as (cloud, exchange, scripted):
        for level in levels[:20]:
            exchange.feed(chunk(level))
        assert not cloud.requests  # nothing had time to connect
        await cloud.until_received(Speech, 20)
        for level in levels[20:]:
            exchange.feed(chunk(level))
        await answer(exchange)
        assert isinstance(cloud.received[0], Open)
        assert [float(piece.samples[0]) for piece in scripted.exchanges[0].chunks] == levels


async def test_a_recording_fed_at_once_travels_in_pieces() -> None:
    async with cloud_turn() as (_cloud, exchange, scripted):
        exchange.feed(chunk(count=35 * 16_000))
        await answer(exchange)
        assert [len(piece.samples) for piece in scripted.exchanges[0].chunks] == [160_000, 160_000, 160_000, 80_000]


async def test_words_are_heard_while_they_are_spoken() -> None:
    heard: asyncio.Queue[Heard] = asyncio.Queue()
    async with cloud_turn(on_heard=heard.put_nowait, partials=("what", "what time")) as (_, exchange, _):
        for _ in range(20):
            exchange.feed(chunk())
        assert [await heard.get(), await heard.get()] == [Heard("what", False), Heard("what time", False)]


async def test_a_reply_closed_early_is_rolled_back_and_another_one_asked_for() -> None:
    async with cloud_turn(say("a long answer", seconds=60.0)) as (cloud, exchange, scripted):
        exchange.feed(chunk())
        async with aclosing(exchange.reply()) as events:
            assert isinstance(await anext(events), Heard)
        exchange.feed(chunk())
        assert isinstance((await answer(exchange))[-1], ReplyEnd)
        exchange.commit()
        await cloud.until_received(Commit)
        said = [message for message in cloud.received if not isinstance(message, Open | Speech)]
        assert said == [Ask(1), RollBack(1), Ask(2), Commit(2)]
        assert (scripted.exchanges[0].begun, scripted.exchanges[0].rolled_back) == (2, 1)


async def test_a_reply_that_ran_to_its_end_is_rolled_back_when_another_is_asked_for() -> None:
    async with cloud_turn(say("yes", seconds=0.2)) as (cloud, exchange, _):
        exchange.feed(chunk())
        await answer(exchange)
        await answer(exchange)
        exchange.commit()
        await cloud.until_received(Commit)
        said = [message for message in cloud.received if not isinstance(message, Open | Speech)]
        assert said == [Ask(1), RollBack(1), Ask(2), Commit(2)]
        assert not cloud.objections


async def test_a_turn_committed_before_its_reply_is_read_is_committed_all_the_same() -> None:
    async with cloud_turn() as (cloud, exchange, _):
        exchange.feed(chunk())
        reply = exchange.reply()
        exchange.commit()
        async with aclosing(reply):
            assert [event async for event in reply]
        await cloud.until_received(Commit)
        assert cloud.received[-2:] == [Ask(1), Commit(1)]


async def test_what_is_fed_after_the_end_is_not_sent() -> None:
    async with cloud_turn() as (cloud, exchange, _):
        exchange.feed(chunk())
        exchange.commit()
        exchange.feed(chunk())
        await answer(exchange)
        assert sum(isinstance(message, Speech) for message in cloud.received) == 1


# -- leaving ---------------------------------------------------------------------------------------------------------


async def test_leaving_stops_the_work_in_the_cloud() -> None:
    scripted = ScriptedBackend(endless)
    async with cloud_server(scripted) as cloud:
        async with CloudBackend(CloudSettings(url=cloud.url)).open(TURN, on_heard=lambda heard: None) as exchange:
            exchange.feed(chunk())
            async with aclosing(exchange.reply()) as events:
                await anext(events)
                exchange.commit()
                await anext(events)
        await cloud.until_turns_ended(1)
        assert scripted.exchanges[0].closed
        assert scripted.exchanges[0].rolled_back == 1


async def test_a_committed_reply_closed_early_stops_the_work_before_the_turn_is_left() -> None:
    async with cloud_turn(endless) as (cloud, exchange, scripted):
        exchange.feed(chunk())
        exchange.commit()
        async with aclosing(exchange.reply()) as events:
            await anext(events)
        await cloud.until_turns_ended(1)
        assert scripted.exchanges[0].closed


async def test_a_turn_left_right_after_its_commit_is_known_to_be_committed() -> None:
    scripted = ScriptedBackend(say("yes", seconds=0.2))
    async with cloud_server(scripted) as cloud:
        async with CloudBackend(CloudSettings(url=cloud.url)).open(TURN, on_heard=lambda heard: None) as exchange:
            exchange.feed(chunk())
            await answer(exchange)
            exchange.commit()
        await cloud.until_turns_ended(1)
        assert scripted.exchanges[0].committed


async def test_a_fault_of_the_caller_is_the_callers_own() -> None:
    with pytest.raises(ZeroDivisionError):
        async with cloud_turn():
            raise ZeroDivisionError


async def test_a_turn_is_left_at_once_while_the_cloud_does_not_answer_the_door() -> None:
    async with cloud_turn(faults=Faults(is_deaf=True)) as (_cloud, exchange, _):
        exchange.feed(chunk())


async def test_a_cancelled_reader_leaves_nothing_behind() -> None:
    async with cloud_turn(endless) as (cloud, exchange, _):
        exchange.feed(chunk())
        reading = asyncio.create_task(answer(exchange))
        await cloud.until_received(Ask)
        reading.cancel()
        await cloud.until_received(RollBack)


async def test_a_turn_is_left_while_the_network_takes_nothing() -> None:
    async with cloud_turn() as (cloud, exchange, _):
        await cloud.until_received(Open)
        (connection,) = cloud.connections
        connection.transport.pause_reading()
        mine = transport_at(connection.remote_address[1])
        mine.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        for _ in range(11):
            exchange.feed(chunk(count=160_000))
        while not mine.get_write_buffer_size():
            await asyncio.sleep(0)


# -- a slow reader ---------------------------------------------------------------------------------------------------


async def test_a_slow_reader_holds_the_cloud_back() -> None:
    told = 0

    async def generous(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        nonlocal told
        for _ in range(20_000):
            told += 1
            yield AudioChunk(np.zeros(4_800, np.float32), 24_000)
        yield ReplyEnd()

    async with cloud_turn(generous) as (_cloud, exchange, _):
        exchange.feed(chunk())
        async with aclosing(exchange.reply()) as events:
            await anext(events)
            track = exchange._track
            assert track is not None
            while not track._is_full:
                await asyncio.sleep(0.001)
            for _ in range(200):
                await asyncio.sleep(0)
            assert len(track._events) == 75 < MAXIMUM_EVENTS  # 15 seconds
            for _ in range(1_000):
                await anext(events)


# -- faults ----------------------------------------------------------------------------------------------------------


async def fault_of(faults: Faults, *scripts: Script) -> BackendError:
    async with cloud_turn(*scripts, faults=faults) as (_, exchange, _):
        exchange.feed(chunk())
        with pytest.raises(BackendError) as caught:
            await answer(exchange)
        return caught.value


@pytest.mark.parametrize(
    ("faults", "kind", "words"),
    [
        (Faults(refuse_http=503), BackendUnavailable, "HTTP 503 Service Unavailable"),
        (Faults(refuse_http=401), BackendUnavailable, "HTTP 401 Unauthorized"),
        (Faults(refuse_http=404), BackendUnavailable, "HTTP 404 Not Found"),
        (Faults(refuse=Refused(0, "unavailable", "going away")), BackendUnavailable, "going away"),
        (Faults(refuse=Refused(0, "failed", "no model")), BackendError, r"no model \(failed\)"),
        (Faults(refuse_attempts=Refused(1, "failed", "no luck")), BackendError, r"no luck \(failed\)"),
        (Faults(refuse_attempts=Refused(1, "text_too_long", "too long")), UnsuitedTurn, r"too long \(text_too_long\)"),
        (Faults(refuse=Refused(0, "turn_too_long", "too long")), UnsuitedTurn, r"too long \(turn_too_long\)"),
        (Faults(cut_after_audio=0), BackendUnavailable, "the connection to the cloud is lost"),
        (Faults(cut_after_audio=2), BackendUnavailable, "the connection to the cloud is lost"),
        (Faults(garbage=b"\x07noise"), BackendError, "expected version 1 of the protocol, got 7"),
        (Faults(garbage="hello"), BackendError, "expected a binary message, got a text of 5 characters"),
        (Faults(garbage=b"\x01\x03" + b'{"attempt":1}'), BackendError, "expected the cloud to answer, got Ask"),
        (Faults(garbage=b"\x01\x03" * 1024 * 1024), BackendError, "does not keep to the protocol.*1009"),
        (
            Faults(garbage=b'\x01\x23{"attempt":9,"event":{"text":"?"}}'),
            BackendError,
            "one of 1 attempts, got one to 9",
        ),
    ],
)
async def test_a_fault_of_the_cloud_has_a_name(faults: Faults, kind: type[BackendError], words: str) -> None:
    fault = await fault_of(faults)
    assert type(fault) is kind
    with pytest.raises(kind, match=words):
        raise fault


@pytest.mark.parametrize(
    ("faults", "error", "replica"),
    [
        (Faults(), None, REPLICA),
        (Faults(refuse_http=503), "unavailable", None),
        (Faults(refuse_http=429), "at capacity", None),
        (Faults(refuse_attempts=Refused(1, "failed", "no luck")), None, REPLICA),
    ],
)
async def test_the_way_to_the_cloud_is_told(faults: Faults, error: str | None, replica: str | None) -> None:
    async with cloud_turn(faults=faults) as (_, exchange, _):
        assert not exchange.journey().phases  # nobody has set out yet
        exchange.feed(chunk())
        with suppress(BackendError):
            await answer(exchange)
        way = exchange.journey()
    (connect,) = way.phases
    assert (connect.name, connect.error) == ("cloud.connect", error)
    assert connect.begin < connect.end
    assert way.attributes == {"rpc.system.name": "ray_serve", "voice.replica.id": replica}


async def test_nobody_else_hears_what_was_meant_for_the_cloud() -> None:
    async with cloud_server(ScriptedBackend()) as other:
        fault = await fault_of(Faults(refuse_http=307, location=f"{other.url}/v1/turns"))
        assert "HTTP 307" in str(fault)
        assert not other.requests


@pytest.mark.parametrize(
    ("faults", "retry_after_sec"),
    [
        (Faults(refuse_http=429), 1.0),
        (Faults(refuse_http=503, retry_after="7"), 7.0),
        (Faults(refuse_http=503, retry_after="7|8"), 7.0),
        (Faults(refuse=Refused(0, "at_capacity", "full", 2.5)), 2.5),
        (Faults(refuse=Refused(0, "at_capacity", "full")), 1.0),
        (Faults(refuse_attempts=Refused(1, "at_capacity", "full", 0.5)), 0.5),
    ],
)
async def test_a_full_cloud_says_when_to_come_back(faults: Faults, retry_after_sec: float) -> None:
    fault = await fault_of(faults)
    assert isinstance(fault, AtCapacity)
    assert fault.retry_after_sec == retry_after_sec


async def test_a_reply_that_breaks_off_is_told_up_to_there() -> None:
    came: list[ReplyEvent] = []
    async with cloud_turn(say("a while", seconds=2.0), faults=Faults(cut_after_audio=3)) as (_, exchange, _):
        exchange.feed(chunk())
        with pytest.raises(BackendUnavailable):
            async for event in exchange.reply():
                came.append(event)
    assert [type(event).__name__ for event in came] == ["Heard", "TextDelta", *["AudioChunk"] * 3]


async def test_an_attempt_that_failed_may_be_made_again() -> None:
    faults = Faults(refuse_attempts=Refused(1, "failed", "no luck"))
    async with cloud_turn(faults=faults) as (_cloud, exchange, _):
        exchange.feed(chunk())
        with pytest.raises(BackendError, match="no luck"):
            await answer(exchange)
        faults.refuse_attempts = None
        assert isinstance((await answer(exchange))[-1], ReplyEnd)


async def test_a_turn_that_was_refused_is_not_asked_for_again() -> None:
    async with cloud_turn(faults=Faults(refuse=Refused(0, "unavailable", "going away"))) as (_, exchange, _):
        exchange.feed(chunk())
        for _ in range(2):
            with pytest.raises(BackendUnavailable, match="going away"):
                await answer(exchange)
        exchange.commit()


async def test_a_fault_of_our_own_costs_the_exchange_and_not_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    def stumble(heard: Heard) -> None:
        raise ZeroDivisionError

    async with cloud_turn(on_heard=stumble, partials=("what",)) as (_, exchange, _):
        for _ in range(10):
            exchange.feed(chunk())
        with pytest.raises(BackendError, match="stumbled over a fault of our own"):
            await answer(exchange)
    assert "ZeroDivisionError" in caplog.text


async def test_a_stall_keeps_what_came_before() -> None:
    async with cloud_turn(faults=Faults(stall_after_audio=1)) as (_cloud, exchange, _):
        exchange.feed(chunk())
        async with aclosing(exchange.reply()) as events:
            came = [await anext(events) for _ in range(3)]
        assert isinstance(came[-1], AudioChunk)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("url", ["ws://127.0.0.1:9", "ws://nowhere.invalid", f"ws://{'a' * 70}.example"])
async def test_a_cloud_that_is_not_there_is_unavailable(url: str) -> None:
    backend = CloudBackend(CloudSettings(url=url, connect_timeout_sec=60.0))  # names may take long not to be found
    async with backend.open(TURN, on_heard=lambda heard: None) as exchange:
        exchange.feed(chunk())
        with pytest.raises(BackendUnavailable, match="the cloud cannot be reached"):
            await answer(exchange)


async def test_a_cloud_that_does_not_answer_the_door_is_unavailable() -> None:
    async with cloud_server(ScriptedBackend(), faults=Faults(is_deaf=True)) as cloud:
        backend = CloudBackend(CloudSettings(url=cloud.url, connect_timeout_sec=0.05))
        async with backend.open(TURN, on_heard=lambda heard: None) as exchange:
            exchange.feed(chunk())
            with pytest.raises(BackendUnavailable, match=r"the cloud did not answer within 0\.05 seconds"):
                await answer(exchange)


async def test_a_cloud_without_tls_is_not_trusted() -> None:
    async with cloud_server(ScriptedBackend()) as cloud:
        backend = CloudBackend(CloudSettings(url=cloud.url.replace("ws://", "wss://")))
        async with backend.open(TURN, on_heard=lambda heard: None) as exchange:
            exchange.feed(chunk())
            with pytest.raises(BackendUnavailable, match="the cloud cannot be reached"):
                await answer(exchange)


# -- what is not sent ------------------------------------------------------------------------------------------------


async def test_a_private_turn_is_not_even_dialled() -> None:
    async with cloud_turn(turn=replace(TURN, privacy="device_only")) as (cloud, exchange, _):
        exchange.feed(chunk())
        with pytest.raises(BackendError, match="shall not leave the device"):
            await answer(exchange)
        assert not cloud.requests


async def test_a_turn_too_large_is_not_sent() -> None:
    async with cloud_turn(turn=replace(TURN, instructions="a" * 2**20)) as (cloud, exchange, _):
        with pytest.raises(UnsuitedTurn, match="the turn cannot be sent to the cloud: expected a message of at most"):
            await answer(exchange)
        assert not cloud.requests


async def test_a_turn_without_a_question_is_not_asked() -> None:
    async with cloud_turn() as (cloud, exchange, _):
        with pytest.raises(UnsuitedTurn, match=r"expected speech or a question .* got nothing to answer"):
            await answer(exchange)
        assert not cloud.objections


async def test_a_typed_question_needs_no_speech() -> None:
    typed = replace(TURN, history=(Message("user", "what time is it?"),))
    async with cloud_turn(turn=typed) as (cloud, exchange, _):
        exchange.commit()
        assert isinstance((await answer(exchange))[-1], ReplyEnd)
        await cloud.until_received(Commit)
        assert not cloud.objections


async def test_a_turn_that_does_not_come_to_an_end_is_given_up() -> None:
    async with cloud_turn() as (_cloud, exchange, _):
        for _ in range(13):
            exchange.feed(chunk(count=160_000))
        with pytest.raises(UnsuitedTurn, match="expected at most 120 seconds of speech in a turn, got more"):
            await answer(exchange)


async def test_the_key_and_the_trace_go_with_the_connection() -> None:
    async with cloud_server(ScriptedBackend()) as cloud:
        backend = CloudBackend(CloudSettings(url=cloud.url + "/", key="sesame"))  # type: ignore[arg-type]
        async with backend.open(TURN, on_heard=lambda heard: None):
            await cloud.until_received(Open)
        (request,) = cloud.requests
    assert request.path == "/v1/turns"
    assert request.headers["Authorization"] == "Bearer sesame"
    assert request.headers["traceparent"] == TURN.trace_context["traceparent"]
    assert "tracestate" not in request.headers
    assert "b" not in request.headers
    assert "Sec-WebSocket-Extensions" not in request.headers


async def test_small_messages_do_not_wait_for_each_other() -> None:
    async with cloud_turn() as (cloud, _exchange, _):
        await cloud.until_received(Open)
        (connection,) = cloud.connections
        mine = transport_at(connection.remote_address[1])
        assert mine.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def transport_at(local_port: int) -> asyncio.WriteTransport:
    """The edge's end of a connection, of which the cloud knows the port."""
    transports: Iterable[asyncio.WriteTransport] = asyncio.get_running_loop()._transports.values()  # type: ignore[attr-defined]
    (mine,) = (it for it in transports if it.get_extra_info("sockname")[1] == local_port)
    return mine


# -- over TLS --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_cloud_with_a_certificate_of_its_own_is_trusted_where_its_authority_is_named(tmp_path: Path) -> None:
    certificate, key = await asyncio.to_thread(self_signed, tmp_path)
    context = await asyncio.to_thread(server_context, certificate, key)
    async with cloud_server(ScriptedBackend(), ssl=context) as cloud:
        for ca_file, trusted in ((certificate, True), (None, False)):
            backend = CloudBackend(CloudSettings(url=cloud.url, ca_file=ca_file, connect_timeout_sec=20.0))
            async with backend.open(TURN, on_heard=lambda heard: None) as exchange:
                exchange.feed(chunk())
                if trusted:
                    assert isinstance((await answer(exchange))[-1], ReplyEnd)
                else:
                    with pytest.raises(BackendUnavailable, match="certificate"):
                        await answer(exchange)


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def self_signed(folder: Path) -> tuple[Path, Path]:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(pem))
    key_file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return certificate_file, key_file


async def test_a_backend_needs_a_cloud() -> None:
    with pytest.raises(SettingsError, match="expected the URL of a cloud"):
        CloudBackend(CloudSettings())
