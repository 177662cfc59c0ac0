"""Calls through a real TURN server, and what is said where it does not help."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from aiortc import RTCConfiguration, RTCIceServer
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from blockbuster import BlockBuster

from edge_client.caller import client
from edge_client.caller.microphone import MICROPHONE_RATE
from edge_client.settings import EdgeSettings, read_settings
from edge_client.tone import ToneBackend
from edge_client.webrtc.ice import LOOPBACK
from edge_client.webrtc.peer import PeerSettings
from edge_client.webrtc.turn import TurnSettings, check_relay, own_servers, relays
from routing.errors import AtCapacity, InvalidRequest, SettingsError
from routing.turns import REPLY_SAMPLE_RATE
from tests.browser import visit
from tests.edge import running_edge
from tests.peers import Caller, chirp
from tests.test_webrtc_peer import answer, call
from tests.turn_server import SECRET, TurnServer, turn_server

SETTINGS = TurnSettings(urls="turn:turn.example.com,turns:turn.example.com:443?transport=tcp", secret=SECRET)  # type: ignore[arg-type]


@pytest.fixture
async def coturn(tmp_path: Path) -> AsyncIterator[TurnServer]:
    async with turn_server(tmp_path) as running:
        yield running


def configuration(turn: TurnSettings, policy: RTCIceTransportPolicy = RTCIceTransportPolicy.RELAY) -> RTCConfiguration:
    """Of a caller who is told of ``turn`` and reaches nothing but its relays."""
    told = relays(turn, name="caller", now=time.time())
    assert told
    servers = [RTCIceServer(urls=list(told.urls), username=told.username, credential=told.credential)]
    return RTCConfiguration(iceServers=servers, iceTransportPolicy=policy)


# -- credentials -----------------------------------------------------------------------------------------------------


def test_credentials_tell_when_they_expire_and_are_proved_by_the_secret() -> None:
    told = relays(SETTINGS, name="caller_7", now=1_000.5)
    assert told is not None
    assert told.urls == ("turn:turn.example.com", "turns:turn.example.com:443?transport=tcp")
    assert told.username == "1600:caller_7"
    assert told.expires_at == 1600
    assert base64.b64decode(told.credential) == hmac.digest(SECRET.encode(), b"1600:caller_7", hashlib.sha1)


def test_without_a_turn_server_there_are_no_credentials() -> None:
    assert relays(TurnSettings(), name="caller", now=0.0) is None
    assert own_servers(TurnSettings(), now=0.0) == []


def test_secrets_are_not_shown() -> None:
    told = relays(SETTINGS, name="caller", now=0.0)
    assert told is not None
    assert SECRET not in repr(SETTINGS)
    assert SECRET not in repr(EdgeSettings(peer=PeerSettings(turn=SETTINGS)))
    assert told.credential not in repr(told)


@pytest.mark.parametrize(
    "urls", ["stun:turn.example.com", "turn.example.com:3478", "turn:a b", "turn:x?transport=sctp", "http://x"]
)
def test_what_is_no_turn_server_is_refused(urls: str) -> None:
    with pytest.raises(ValueError, match="expected an address like turn:"):
        TurnSettings(urls=urls, secret=SECRET)  # type: ignore[arg-type]


def test_address_and_secret_come_together() -> None:
    with pytest.raises(ValueError, match="expected both urls and secret"):
        TurnSettings(urls=("turn:turn.example.com",))
    with pytest.raises(ValueError, match="expected both urls and secret"):
        TurnSettings(secret=SECRET)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected a TURN server"):
        PeerSettings(relay=True)


def test_the_environment_may_name_it() -> None:
    environment = {
        "ANTIPHON_PEER__TURN__URLS": "turn:one.example.com,turn:two.example.com",
        "ANTIPHON_PEER__TURN__SECRET": SECRET,
        "ANTIPHON_PEER__RELAY": "true",
    }
    peer = read_settings(environment=environment).peer
    assert peer.turn.urls == ("turn:one.example.com", "turn:two.example.com")
    assert peer.relay


# -- what callers are told -------------------------------------------------------------------------------------------


async def test_whoever_may_call_is_told_of_the_relays() -> None:
    nobody = TurnSettings(urls=f"turn:{LOOPBACK}:9,turns:{LOOPBACK}:9?transport=tcp", secret=SECRET)  # type: ignore[arg-type]
    async with (
        running_edge(api_keys=("key",), peer=PeerSettings(turn=nobody)) as edge,
        httpx.AsyncClient(base_url=edge.url) as client,
    ):
        refused = await client.get("/v1/realtime/ice_servers")
        told = (await client.get("/v1/realtime/ice_servers", headers={"authorization": "Bearer key"})).json()
        page = (await client.get("/")).text
    assert refused.status_code == 401
    (offered,) = told["ice_servers"]
    assert offered["urls"] == list(nobody.urls)
    assert offered["username"].startswith(f"{told['expires_at']}:caller_")
    assert '<meta name="antiphon-relays" content="v1/realtime/ice_servers" data-edge="direct">' in page


async def test_without_a_turn_server_the_page_asks_for_none() -> None:
    async with running_edge() as edge, httpx.AsyncClient(base_url=edge.url) as client:
        told = (await client.get("/v1/realtime/ice_servers")).json()
        page = (await client.get("/")).text
    assert told == {"ice_servers": [], "expires_at": None}
    assert "antiphon-relays" not in page


# -- calls through it ------------------------------------------------------------------------------------------------


@pytest.mark.turn
@pytest.mark.timeout(60)
async def test_a_caller_who_reaches_nothing_but_the_relay_is_heard_and_hears(
    nothing_left_behind: None, coturn: TurnServer
) -> None:
    async with call(Caller(configuration=configuration(coturn.settings()))) as (caller, peer, notes, playout, _):
        playout.write(chirp(0.3, REPLY_SAMPLE_RATE))
        caller.microphone.say(chirp(0.3, REPLY_SAMPLE_RATE))
        await caller.sound()
        await notes.until(lambda: any(abs(block).max(initial=0) > 0.1 for block in notes.blocks))
    assert peer.moments.pair_type == "relay"  # though no address of the caller was checked


@pytest.mark.turn
@pytest.mark.timeout(60)
async def test_our_own_caller_goes_through_the_relays_that_the_edge_tells_of(
    nothing_left_behind: None, coturn: TurnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_relays = partial(RTCConfiguration, iceTransportPolicy=RTCIceTransportPolicy.RELAY)
    monkeypatch.setattr("edge_client.caller.line.RTCConfiguration", only_relays)
    settings = PeerSettings(loopback=True, turn=coturn.settings())
    async with (
        running_edge(ToneBackend(), peer=settings) as edge,
        client.Caller.connect(edge.url, relayed=True, reporting=False) as caller,
    ):
        assert caller.ice.pair_type == "relay"
        await caller.say(chirp(0.4, MICROPHONE_RATE))
        assert await caller.audible()


async def test_an_edge_without_relays_says_so_to_a_caller_who_asks_for_them() -> None:
    async with running_edge() as edge:
        with pytest.raises(
            InvalidRequest, match=r"expected TURN servers for callers at .*/v1/realtime/ice_servers, got none"
        ):
            async with client.Caller.connect(edge.url, relayed=True):
                raise AssertionError("called without a relay")


@pytest.mark.turn
@pytest.mark.timeout(60)
async def test_an_edge_that_cannot_be_reached_finds_its_callers_through_its_own_relay(
    nothing_left_behind: None, coturn: TurnServer
) -> None:
    settings = PeerSettings(listen_addresses=("192.0.2.1",), turn=coturn.settings(), relay=True)
    async with call(settings=settings) as (caller, peer, notes, playout, _):
        kinds = [line.split(" ")[7] for line in peer.description.splitlines() if line.startswith("a=candidate:")]
        playout.write(chirp(0.3, REPLY_SAMPLE_RATE))
        caller.microphone.say(chirp(0.3, REPLY_SAMPLE_RATE))
        await caller.sound()
        await notes.until(lambda: any(abs(block).max(initial=0) > 0.1 for block in notes.blocks))
    assert set(kinds) == {"relay"}


@pytest.mark.turn
@pytest.mark.timeout(60)
async def test_a_server_that_gives_relays_is_told_from_one_that_does_not(coturn: TurnServer) -> None:
    assert (await check_relay(coturn.settings(), now=time.time())).startswith(f"{LOOPBACK}:")
    with pytest.raises(SettingsError, match=r"refuses our credentials .* peer\.turn\.secret"):
        await check_relay(coturn.settings(secret="another"), now=time.time())
    over_tcp = TurnSettings(urls=(f"turn:{LOOPBACK}:{coturn.port}?transport=tcp",), secret=SECRET)  # type: ignore[arg-type]
    assert (await check_relay(over_tcp, now=time.time())).startswith(f"{LOOPBACK}:")


async def test_a_server_that_is_not_there_is_named() -> None:
    nobody = TurnSettings(urls=(f"turn:{LOOPBACK}:9?transport=tcp",), secret=SECRET)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"peer\.turn: turn:127\.0\.0\.1:9\?transport=tcp does not answer"):
        await check_relay(nobody, now=time.time())


@pytest.mark.turn
@pytest.mark.timeout(60)
async def test_a_wrong_secret_is_said_at_the_start_and_at_the_call(
    nothing_left_behind: None, coturn: TurnServer, caplog: pytest.LogCaptureFixture
) -> None:
    settings = PeerSettings(listen_addresses=("192.0.2.1",), turn=coturn.settings(secret="another"), relay=True)
    async with running_edge(peer=settings), asyncio.timeout(15):
        while "refuses our credentials" not in caplog.text:
            await asyncio.sleep(0.01)
    async with Caller() as caller:
        with pytest.raises(AtCapacity, match="no socket can be opened"):
            await answer(await caller.offer(), settings)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert any("no relay from the TURN server" in record.getMessage() for record in errors)


# -- browsers --------------------------------------------------------------------------------------------------------

ONLY_RELAYS = """
  const Connection = RTCPeerConnection;
  const relayed = (configuration) => ({ ...configuration, iceTransportPolicy: "relay" });
  window.RTCPeerConnection = class extends Connection {
    constructor(configuration) { super(relayed(configuration)); }
    setConfiguration(configuration) { super.setConfiguration(relayed(configuration)); }
  };
"""


@pytest.mark.turn
@pytest.mark.browser
@pytest.mark.timeout(120)
async def test_a_browser_that_reaches_nothing_but_the_relay_is_connected(
    blockbuster: BlockBuster, coturn: TurnServer
) -> None:
    blockbuster.deactivate()  # Playwright reads files inside the event loop
    settings = PeerSettings(listen_addresses=(LOOPBACK,), turn=coturn.settings())
    async with running_edge(peer=settings) as edge, visit(edge.url, before=ONLY_RELAYS) as seen:
        await seen.call()


@pytest.mark.turn
@pytest.mark.browser
@pytest.mark.timeout(120)
async def test_a_browser_is_found_by_an_edge_that_it_cannot_reach(
    blockbuster: BlockBuster, coturn: TurnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    blockbuster.deactivate()
    settings = PeerSettings(listen_addresses=("192.0.2.1",), turn=coturn.settings(), relay=True)
    async with running_edge(peer=settings) as edge, visit(edge.url) as seen:
        monkeypatch.setattr(EdgeSettings, "on_loopback", False)  # which would give it an address that can be reached
        await seen.call()
