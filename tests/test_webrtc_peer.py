"""Two real aiortc peers in one process: sound and messages both ways, and every way in which a call ends."""

from __future__ import annotations

import asyncio
import random
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import numpy as np
import pytest

from edge_client.playout import Playout
from edge_client.webrtc import peer
from edge_client.webrtc.ice import LOOPBACK, candidates
from edge_client.webrtc.peer import Peer, PeerSettings
from routing.errors import AtCapacity, InvalidRequest
from routing.turns import REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE, Samples
from tests.peers import Caller, Trial, chirp, find, unbroken

SETTINGS = PeerSettings(listen_addresses=(LOOPBACK,))

pytestmark = [  # real peers, in real time
    pytest.mark.slow,
    pytest.mark.usefixtures("nothing_left_behind"),
    pytest.mark.timeout(60),
]


class Notes:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.blocks: list[Samples] = []
        self.texts: list[str] = []
        self.faults: list[InvalidRequest] = []
        self.opened_times = 0
        self.losses = 0
        self.news = asyncio.Event()

    def heard(self, samples: Samples) -> None:
        self.blocks.append(samples)
        self.news.set()

    def opened(self) -> None:
        self.opened_times += 1
        self.news.set()

    def received(self, text: str) -> None:
        self.texts.append(text)
        self.news.set()

    def refused(self, fault: InvalidRequest) -> None:
        self.faults.append(fault)
        self.news.set()

    def acknowledged(self) -> None:
        """A peer who loses nothing needs no memory."""

    def lost(self) -> None:
        self.losses += 1
        self.news.set()

    @property
    def samples(self) -> Samples:
        return np.concatenate([np.zeros(0, np.float32), *self.blocks])

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self.news.clear()
                await self.news.wait()


class Call(NamedTuple):
    caller: Caller
    peer: Peer
    notes: Notes
    playout: Playout
    running: asyncio.Task[str]


@asynccontextmanager
async def call(
    caller: Caller | None = None, *, settings: PeerSettings = SETTINGS, notes: Notes | None = None
) -> AsyncIterator[Call]:
    """A caller who is being served. Leaving hangs up and waits until the peer has ended too."""
    playout, notes = Playout(), notes or Notes()
    async with caller or Caller() as connected:
        peer = await answer(await connected.offer(), settings, notes, playout)
        running = asyncio.create_task(peer.run())
        await connected.accept(peer.description)
        await connected.connected()
        yield Call(connected, peer, notes, playout, running)
    await asyncio.wait([running])


async def answer(
    offer: str,
    settings: PeerSettings = SETTINGS,
    notes: Notes | None = None,
    playout: Playout | None = None,
) -> Peer:
    read = (playout or Playout()).read
    return await Peer.answer(offer, listener=notes or Notes(), read=read, settings=settings)


# -- sound ---------------------------------------------------------------------------------------------------------


async def test_what_the_caller_says_is_heard_at_16_khz() -> None:
    async def speak() -> Trial[tuple[Samples, Samples]]:
        async with call() as (caller, _, notes, _, _):
            caller.microphone.say(chirp(1.0, REPLY_SAMPLE_RATE))
            await notes.until(lambda: caller.microphone.silent)
            before = len(notes.blocks)
            await notes.until(lambda: len(notes.blocks) > before + 20)
            said = np.concatenate([block.samples for block in caller.microphone.blocks])
        return Trial((said, notes.samples), caller.stalls)

    said, heard = await unbroken(speak)
    found = find(chirp(1.0, SPEECH_SAMPLE_RATE), heard)
    assert found.likeness > 0.95
    at_microphone = find(chirp(1.0, REPLY_SAMPLE_RATE), said).start / REPLY_SAMPLE_RATE
    assert found.start / SPEECH_SAMPLE_RATE == pytest.approx(at_microphone, abs=0.045)  # nothing lost before it


async def test_the_reply_reaches_the_caller() -> None:
    async def reply() -> Trial[Samples]:
        async with call() as (caller, peer, _, playout, _):
            playout.begin()
            playout.write(chirp(0.5, REPLY_SAMPLE_RATE))
            playout.finish()
            await caller.sound()
            await caller.until(lambda: playout.silent)
            before = len(caller.heard)
            await caller.until(lambda: len(caller.heard) > before + 10)
            statistics = peer.statistics()
        assert playout.heard == REPLY_SAMPLE_RATE // 2
        assert statistics.connect_sec is not None
        assert statistics.playout.failures == 0
        return Trial(caller.heard_samples, statistics.playout.stalls)

    assert find(chirp(0.5, SPEECH_SAMPLE_RATE), await unbroken(reply)).likeness > 0.95


async def test_two_calls_do_not_hear_each_other() -> None:
    async with call() as one, call() as other:
        one.caller.microphone.say(chirp(0.3, REPLY_SAMPLE_RATE))
        other.playout.write(chirp(0.3, REPLY_SAMPLE_RATE))
        await one.notes.until(lambda: any(np.abs(block).max(initial=0) > 0.1 for block in one.notes.blocks))
        await other.caller.sound()

    assert np.abs(other.notes.samples).max() < 0.01
    assert np.abs(one.caller.heard_samples).max() < 0.01


async def test_a_caller_without_a_data_channel_is_served_too() -> None:
    async with call(Caller(channel=None)) as (caller, peer, notes, _, _):
        caller.microphone.say(chirp(0.2, REPLY_SAMPLE_RATE))
        await notes.until(lambda: any(np.abs(block).max(initial=0) > 0.1 for block in notes.blocks))
        assert not peer.send("{}")

    assert notes.opened_times == 0


async def test_a_caller_who_only_listens_is_served_too() -> None:
    async with call(Caller(direction="recvonly")) as (caller, _, notes, playout, _):
        playout.write(chirp(0.2, REPLY_SAMPLE_RATE))
        await caller.sound()

    assert notes.blocks == []


async def test_the_reply_to_a_caller_who_does_not_listen_runs_at_its_pace() -> None:
    async with call(Caller(direction="sendonly")) as (_, _, notes, playout, _):
        playout.begin()
        playout.write(chirp(0.2, REPLY_SAMPLE_RATE))
        await notes.until(lambda: playout.silent)

    assert playout.heard == REPLY_SAMPLE_RATE // 5


async def test_a_caller_without_sound_either_way_is_not_taken_for_gone() -> None:
    settings = SETTINGS.model_copy(update={"vanish_timeout_sec": 0.1})
    async with call(Caller(direction="inactive"), settings=settings) as (caller, _, notes, _, running):
        await caller.opened()
        await asyncio.sleep(0.3)
        caller.send({"type": "response.create"})
        await notes.until(lambda: bool(notes.texts))
        assert not running.done()


async def test_an_offer_as_chromium_makes_it_is_answered() -> None:
    peer = await answer(CHROMIUM_OFFER)

    lines = peer.description.splitlines()
    audio, application = (line for line in lines if line.startswith("m="))
    assert re.fullmatch(r"m=audio \d+ UDP/TLS/RTP/SAVPF 111", audio)
    assert application.startswith("m=application ")
    assert "a=fmtp:111 minptime=10;useinbandfec=1" in lines
    assert any(line.startswith("a=msid:") for line in lines)  # the player is event.streams[0]
    assert lines.count("a=setup:active") == 2
    assert set(candidates(peer.description)) == {LOOPBACK}
    await peer.close()


CHROMIUM_OFFER = """\
v=0
o=- 4067247802876622241 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS b7c83d60-06d2-48a2-84d5-252518670588
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:Mn0S
a=ice-pwd:/LArCLx+BA6k7CZKmcCJzXFH
a=ice-options:trickle
a=fingerprint:sha-256 D5:6B:E0:1D:B5:C5:18:4F:68:F5:0F:4E:E8:B9:E9:E8:55:22:E0:01:B5:FD:B2:5E:47:EC:5B:04:4A:6D:C7:F3
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendrecv
a=msid:b7c83d60-06d2-48a2-84d5-252518670588 3efe0b96-ef8d-4318-bb56-f06b8ec1aa63
a=rtcp-mux
a=rtcp-rsize
a=rtcp-xr:rcvr-rtt=all
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
a=rtpmap:126 telephone-event/8000
a=ssrc:1441580115 cname:p04VtzpkmgvXYE6x
a=ssrc:1441580115 msid:b7c83d60-06d2-48a2-84d5-252518670588 3efe0b96-ef8d-4318-bb56-f06b8ec1aa63
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:Mn0S
a=ice-pwd:/LArCLx+BA6k7CZKmcCJzXFH
a=ice-options:trickle
a=fingerprint:sha-256 D5:6B:E0:1D:B5:C5:18:4F:68:F5:0F:4E:E8:B9:E9:E8:55:22:E0:01:B5:FD:B2:5E:47:EC:5B:04:4A:6D:C7:F3
a=setup:actpass
a=mid:1
a=sctp-port:5000
a=max-message-size:262144
"""


# -- messages ------------------------------------------------------------------------------------------------------


async def test_messages_go_both_ways() -> None:
    async with call() as (caller, peer, notes, _, _):
        await caller.opened()
        await notes.until(lambda: notes.opened_times == 1)
        caller.send({"type": "session.update", "instructions": "Grüße"})
        await notes.until(lambda: len(notes.texts) == 1)
        assert peer.send('{"type": "session.updated"}')
        assert await caller.event("session.updated") == {"type": "session.updated"}

    assert notes.texts == ['{"type": "session.update", "instructions": "Gr\\u00fc\\u00dfe"}']
    assert notes.opened_times == 1
    assert not peer.send("too late")


async def test_binary_and_endless_messages_are_refused_and_the_call_goes_on() -> None:
    settings = SETTINGS.model_copy(update={"maximum_message_bytes": 1000})
    async with call(settings=settings) as (caller, peer, notes, _, _):
        await caller.opened()
        assert caller.channel is not None
        caller.channel.send(b"binary")
        caller.channel.send("x" * 1001)
        caller.channel.send("ü" * 501)
        caller.channel.send("x" * 1000)
        await notes.until(lambda: bool(notes.texts))

    assert notes.texts == ["x" * 1000]
    assert peer.statistics().refused_messages == 3
    assert [fault.code for fault in notes.faults] == ["invalid_event", "event_too_large", "event_too_large"]


async def test_what_the_caller_does_not_take_is_not_piled_up() -> None:
    settings = SETTINGS.model_copy(update={"maximum_buffered_bytes": 100_000, "vanish_timeout_sec": 0.5})
    async with call(settings=settings) as (caller, peer, notes, _, _):
        await notes.until(lambda: notes.opened_times == 1)
        assert not peer.send("x" * 2**20)  # more than the caller said it takes
        caller.vanish()
        sent = [peer.send("x" * 10_000) for _ in range(20)]

    assert sent[:10] == [True] * 10
    assert not sent[-1]


async def test_other_data_channels_are_closed() -> None:
    async with call(Caller(channel="chat")) as (caller, _, notes, _, _):
        chat = caller.channel
        assert chat is not None
        chat.on("close", caller.changed)
        await caller.until(lambda: chat.readyState == "closed")

    assert notes.opened_times == 0


# -- the end -------------------------------------------------------------------------------------------------------


async def test_hanging_up_ends_the_call() -> None:
    async with call() as (caller, _, _, _, running):
        await caller.hang_up()
        assert await running == "hung up"


async def test_a_caller_who_vanishes_is_noticed() -> None:
    settings = SETTINGS.model_copy(update={"vanish_timeout_sec": 0.3})
    async with call(settings=settings) as (caller, _, notes, _, running):
        await notes.until(lambda: len(notes.blocks) > 30)  # longer than the timeout: sound keeps the call alive
        assert not running.done()
        caller.vanish()
        assert await running == "vanished"


async def test_a_caller_without_sound_either_way_who_vanishes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "SLOWEST_CHECKS_SEC", 0.2)
    settings = SETTINGS.model_copy(update={"suspect_timeout_sec": 0.1, "vanish_timeout_sec": 0.1})
    async with call(Caller(direction="inactive"), settings=settings) as (caller, _, _, _, running):
        caller.vanish()
        assert await running == "vanished"


async def test_a_caller_who_never_connects_is_given_up() -> None:
    async with Caller() as caller:
        settings = SETTINGS.model_copy(update={"connect_timeout_sec": 0.2})
        peer = await answer(await caller.offer(), settings)

        assert await peer.run() == "never connected"


async def test_closing_ends_the_call_once() -> None:
    async with call() as (caller, peer, _, _, running):
        await asyncio.gather(peer.close(), peer.close())
        assert await running == "closed"
        await caller.until(lambda: caller.connection.connectionState == "closed")
        await peer.close()


async def test_cancelling_ends_the_call() -> None:
    async with call() as (caller, _, _, _, running):
        running.cancel()
        await caller.until(lambda: caller.connection.connectionState == "closed")

    assert running.cancelled()


@pytest.mark.parametrize("method", ["heard", "opened", "received"])
async def test_what_the_listener_raises_comes_out_of_the_call(method: str) -> None:
    class Broken(Notes):
        pass

    def fail(*_: object) -> None:
        raise ZeroDivisionError(method)

    setattr(Broken, method, fail)
    async with call(notes=Broken()) as (caller, _, _, _, running):
        await caller.opened()
        caller.send({"type": "response.create"})
        with pytest.raises(ZeroDivisionError, match=method):
            await running


async def test_sockets_are_closed_even_where_the_orderly_way_fails(caplog: pytest.LogCaptureFixture) -> None:
    async with Caller() as caller:
        peer = await answer(await caller.offer())
        close = peer._connection.close

        async def fail() -> None:
            raise AttributeError("no such transport")

        peer._connection.close = fail  # type: ignore[method-assign]
        await peer.close()
        assert "could not be closed in the orderly way" in caplog.text
        assert peer._ice._connections[0]._protocols[0].transport.is_closing()
        await close()


# -- strangers -----------------------------------------------------------------------------------------------------


def replaced(old: str, new: str) -> Callable[[str], str]:
    return lambda offer: offer.replace(old, new)


HOSTILE: dict[str, Callable[[str], str]] = {
    "nothing": lambda _: "",
    "not SDP": lambda _: '{"sdp": "v=0"}',
    "half of it": lambda offer: offer[: len(offer) // 2],
    "two audio sections": lambda offer: offer + offer[offer.index("m=audio") :],
    "video": replaced("m=audio", "m=video"),
    "huge": lambda offer: offer + "a=x:y\r\n" * 6000,
    "no fingerprint": replaced("a=fingerprint:", "a=finger:"),
    "no Opus": replaced("opus/48000", "speex/16000"),
    "no rtcp-mux": replaced("a=rtcp-mux\r\n", ""),
    "a port that is none": replaced("m=audio ", "m=audio x"),
    "a payload type that is none": replaced("a=rtpmap:96", "a=rtpmap:none"),
    "an answer's role": replaced("a=setup:actpass", "a=setup:holdconn"),
    "a bundle of others": replaced("BUNDLE 0 1", "BUNDLE 7 0 1"),
}


@pytest.mark.parametrize("fault", HOSTILE)
async def test_a_bad_offer_is_refused_and_leaves_nothing(fault: str) -> None:
    async with Caller() as caller:
        offer = HOSTILE[fault](await caller.offer())

        with pytest.raises(InvalidRequest, match="expected an SDP offer"):
            await answer(offer)


async def test_two_hundred_candidates_cost_nothing() -> None:
    async with Caller() as caller:
        offer = await caller.offer()
        more = "".join(
            f"a=candidate:{n} 1 udp 1 198.51.100.{n} 9 typ host\r\na=candidate:{n} 1 udp 1 {n}.local 9 typ host\r\n"
            for n in range(200)
        )
        peer = await answer(offer.replace("a=ice-ufrag", more + "a=ice-ufrag", 1))
        transport = peer._transceiver.receiver.transport.transport
        assert transport.getRemoteCandidates() == []
        await peer.close()


async def test_mutated_offers_never_raise_anything_else() -> None:
    """Faults of aiortc's own come out of setting the offer and out of closing, in every kind."""
    async with Caller() as caller:
        offer = await caller.offer()
    chance = random.Random(2)
    refused = 0
    for _ in range(300):
        try:
            peer = await answer(mutated(offer, chance))
        except InvalidRequest:
            refused += 1
        else:
            await peer.close()
    assert 50 < refused < 300


def mutated(offer: str, chance: random.Random) -> str:
    lines = offer.splitlines()
    for _ in range(chance.randint(1, 4)):
        index = chance.randrange(len(lines))
        line = lines[index]
        match chance.randrange(6):
            case 0:
                del lines[index]
            case 1:
                lines.insert(chance.randrange(len(lines)), line)
            case 2:
                lines[index] = line[: chance.randrange(len(line) + 1)]
            case 3:
                lines[index] = line.replace(str(chance.randrange(10)), str(chance.choice(["", -1, 10**9, "x", 0])))
            case 4:
                place = chance.randrange(len(line) + 1)
                lines[index] = line[:place] + chance.choice(" :/=-~9z") + line[place:]
            case _:
                lines[index] = line.split(":")[0] + ":"
    return "\r\n".join(lines) + "\r\n"


async def test_datagrams_before_the_handshake_are_bounded() -> None:
    async with Caller() as caller:
        peer = await answer(await caller.offer())
        connection = peer._ice._connections[0]
        flood(connection.local_candidates[0].port, b"junk" * 100, 400)
        for _ in range(500):  # the loop takes one datagram at a time
            await asyncio.sleep(0)
        assert peer.statistics().dropped_datagrams == 400
        assert connection._queue.qsize() == 0
        await peer.close()


async def test_an_empty_datagram_from_a_stranger_does_not_end_the_call() -> None:
    async with call() as (_, peer, notes, _, running):
        flood(peer._ice._connections[0].local_candidates[0].port, b"", 3)
        heard = len(notes.blocks)
        await notes.until(lambda: len(notes.blocks) > heard + 10)
        assert not running.done()
        assert peer.statistics().dropped_datagrams == 3


def flood(port: int, datagram: bytes, count: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setblocking(False)
        for _ in range(count):
            stranger.sendto(datagram, (LOOPBACK, port))


async def test_an_address_of_another_machine_is_an_error_of_ours() -> None:
    async with Caller() as caller:
        settings = PeerSettings(listen_addresses=("198.51.100.7",))
        with pytest.raises(AtCapacity, match="no socket can be opened"):
            await answer(await caller.offer(), settings)


def test_settings_refuse_what_is_no_address_and_what_is_unknown() -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        PeerSettings(listen_addresses=("localhost",))
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        PeerSettings(port=1)  # type: ignore[call-arg]
