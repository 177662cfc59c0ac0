"""A process that floods an edge, in stretches: `go` on its standard input begins one, `stop` ends it.

Run with ``nice -n 19``, and at a bounded rate: it shares the machine with the edge and its callers, and what shall be
seen is what a flood does to the edge, not what the flooding costs.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect

from tests.test_webrtc_peer import CHROMIUM_OFFER

RATE = 120.0  # a second, of whatever is flooded with: a thousand in two stretches
ONE = "127.0.0.2"  # the address of a flood from one place; one from everywhere has `SOMEWHERE`
SOMEWHERE = 200
ANSWER_SEC = 5.0

type Work = Callable[[], Awaitable[str]]


class Target:
    """Where the flood goes. ``outcomes`` counts what came back."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self.host, self.port, self.key = parts.hostname, parts.port, key
        self.outcomes: Counter[str] = Counter()
        self._asked = 0

    @property
    def next_address(self) -> str:
        """Another one of many on this machine."""
        self._asked += 1
        return f"127.0.1.{1 + self._asked % SOMEWHERE}"

    @asynccontextmanager
    async def connection(self, address: str = ONE) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(self.host, self.port, local_addr=(address, 0))
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def ask(
        self, path: str, *, method: str = "POST", body: bytes = b"", key: str = "", kind: str = "", address: str = ONE
    ) -> bytes:
        """The whole answer to one request on a connection of its own."""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n"
            f"Authorization: Bearer {key or self.key}\r\n"
            f"Content-Type: {kind or 'application/sdp'}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        async with asyncio.timeout(ANSWER_SEC), self.connection(address) as (reader, writer):
            with suppress(ConnectionError):  # refused before it was read
                writer.write(head.encode() + body)
                await writer.drain()
            return await reader.read()

    async def offer(self, sdp: str = CHROMIUM_OFFER, *, address: str = ONE) -> bytes:
        return await self.ask("/v1/realtime/calls", body=sdp.encode(), address=address)


def status(answer: bytes) -> str:
    return answer[9:12].decode() or "nothing"


# -- floods ------------------------------------------------------------------------------------------------------------


async def offers(target: Target) -> str:
    """Valid offers from one address."""
    return status(await target.offer())


async def scattered_offers(target: Target) -> str:
    """Valid offers from everywhere."""
    return status(await target.offer(address=target.next_address))


async def wrong_keys(target: Target) -> str:
    return status(await target.ask("/v1/realtime/ice_servers", method="GET", key="a-guess"))


async def giant_bodies(target: Target) -> str:
    return status(await target.ask("/v1/realtime/calls", body=b"a=" * 250_000, address=target.next_address))


async def slow_heads(target: Target) -> str:
    """A byte now and then, on a connection that stays."""
    async with target.connection(target.next_address) as (reader, writer):
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(3.0):
                for byte in b"GET /v1/realtime HTTP/1.1\r\n":
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.2)
        return "kept" if not reader.at_eof() else "closed"


async def half_open(target: Target) -> str:
    """Calls whose connectivity is proved, and whose handshake begins again and again."""
    answer = await target.offer(
        CHROMIUM_OFFER.replace("a=setup:actpass", "a=setup:active"), address=target.next_address
    )
    if status(answer) != "201":
        return status(answer)
    await shake_without_end(answer.decode())
    return "half open"


async def shake_without_end(answer: str) -> None:
    from aioice import stun

    user, password = found("ice-ufrag", answer), found("ice-pwd", answer)
    port = int(re.findall(r"a=candidate:\S+ 1 udp \d+ 127\.0\.0\.1 (\d+)", answer)[0])
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("127.0.0.1", port))
    check = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    check.attributes.update({"USERNAME": f"{user}:Mn0S", "PRIORITY": 1, "ICE-CONTROLLING": 1, "USE-CANDIDATE": None})
    check.add_message_integrity(password.encode())
    hello = client_hello()
    try:
        for _ in range(40):
            transport.sendto(bytes(check))
            for _ in range(5):
                transport.sendto(hello)
            await asyncio.sleep(0.05)
    finally:
        transport.close()


def found(name: str, answer: str) -> str:
    value: str = re.findall(rf"a={name}:(\S+)", answer)[0]
    return value


def client_hello() -> bytes:
    """The first datagram of a handshake, as OpenSSL makes it."""
    from OpenSSL import SSL

    connection = SSL.Connection(SSL.Context(SSL.DTLS_METHOD))
    connection.set_connect_state()
    with suppress(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(4096)


async def socket_events(target: Target) -> str:
    """Unknown events over a WebSocket, as fast as they are taken."""
    headers = {"Authorization": f"Bearer {target.key}"}
    url = f"ws://{target.host}:{target.port}/v1/realtime"
    event = json.dumps({"type": "nonsense", "event_id": "x" * 50})
    async with connect(url, additional_headers=headers, proxy=None) as socket:
        reading = asyncio.create_task(drained(socket))
        try:
            async with asyncio.timeout(4.0):
                for _ in range(4000):
                    await socket.send(event)
        except TimeoutError:
            return "slowed"
        finally:
            reading.cancel()
    return "taken"


async def drained(socket: ClientConnection) -> None:
    async for _ in socket:
        pass


async def channel_events(target: Target) -> str:
    """Unknown events over the data channel of a call."""
    from edge_client.caller.client import Caller

    url = f"http://{target.host}:{target.port}"
    async with Caller.connect(url, key=target.key, session=None, reporting=False) as caller:
        for _ in range(300):
            for _ in range(10):
                caller.send({"type": "nonsense", "event_id": "x" * 50})
            await asyncio.sleep(0.01)
    return "taken"


# Each with its rate: those that last keep several going at a time.
FLOODS: Mapping[str, tuple[Callable[[Target], Awaitable[str]], float]] = {
    "offers": (offers, RATE),
    "scattered offers": (scattered_offers, RATE),
    "wrong keys": (wrong_keys, RATE),
    "giant bodies": (giant_bodies, 10.0),
    "slow heads": (slow_heads, 50.0),
    "half-open handshakes": (half_open, 20.0),
    "socket events": (socket_events, 1.0),
    "channel events": (channel_events, 0.5),
}


# -- the process -------------------------------------------------------------------------------------------------------


async def flood(target: Target, work: Callable[[Target], Awaitable[str]], rate: float) -> None:
    """Begin so many a second, until cancelled."""
    begin = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as tasks:
        count = 0
        while True:
            tasks.create_task(once(target, work))
            count += 1
            await asyncio.sleep(max(begin + count / rate - asyncio.get_running_loop().time(), 0))


async def once(target: Target, work: Callable[[Target], Awaitable[str]]) -> None:
    try:
        target.outcomes[await work(target)] += 1
    except Exception as error:  # noqa: BLE001 (whatever an edge under a flood does to its client is an outcome)
        target.outcomes[type(error).__name__] += 1


async def main(kind: str, url: str, key: str) -> None:
    os.nice(19)
    target, (work, rate) = Target(url, key), FLOODS[kind]
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    flooding: asyncio.Task[None] | None = None
    async with AsyncExitStack():
        while line := await reader.readline():
            if line == b"go\n":
                flooding = asyncio.create_task(flood(target, work, rate))
            elif flooding:
                flooding.cancel()
                await asyncio.wait([flooding])
            sys.stdout.write(json.dumps(target.outcomes) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
