"""The way to the cloud: one WebSocket, whose every fault is a `BackendError`."""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import CloseCode
from websockets.http11 import Response

from edge_client.cloud.settings import CloudSettings
from edge_client.straight import connect_straight
from edge_client.tls import LOOK_SEC, Identity
from routing.errors import AtCapacity, BackendError, BackendUnavailable, SettingsError
from routing.refusal import RETRY_AFTER_SEC
from routing.wire import MAXIMUM_MESSAGE_BYTES, Message, WireError, decode

PARTING_SEC = 0.1  # how long a goodbye may take to leave this machine
FRAMES_AHEAD = 16  # received and not yet looked at; above it the socket is not read

_PEERS_NONSENSE = {CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA, CloseCode.MESSAGE_TOO_BIG}

_logger = logging.getLogger("edge_client.cloud.websocket")
_logger.setLevel(logging.INFO)  # below it the library writes down what it carries, which is what people say


class Connection:
    """Carries messages, both ways. Every fault of the network or of the other end is a `BackendError`."""

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket

    async def send(self, data: bytes) -> None:
        """Send an encoded message; waits while the network takes no more.

        Raises:
            BackendError: the connection is gone.
        """
        try:
            await self._websocket.send(data)
        except ConnectionClosed as closed:
            raise _lost(closed) from closed

    async def receive(self) -> Message:
        """The next message. While nobody asks for it, the other end is held back.

        Raises:
            BackendError: the connection is gone, or what came is no message.
        """
        try:
            return decode(await self._websocket.recv())
        except ConnectionClosed as closed:
            raise _lost(closed) from closed
        except WireError as error:
            raise BackendError(f"the cloud does not keep to the protocol: {error}") from error


@dataclass(frozen=True, slots=True)
class CloudTls:
    """How a cloud is believed, and by which certificate it believes us."""

    context: ssl.SSLContext
    identity: Identity | None = None


def cloud_tls(settings: CloudSettings) -> CloudTls:
    """Reads files: the system's certificates take tens of milliseconds.

    Raises:
        SettingsError: a certificate cannot be read, or is no pair with its key.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise SettingsError(f"cloud.ca_file: {settings.ca_file}: expected certificates, got {error}") from None
    if settings.certificate_file is None:
        return CloudTls(context)
    return CloudTls(context, Identity(context, settings.certificate_file, settings.key_file))


class Line:
    """Opens connections to one cloud."""

    def __init__(self, settings: CloudSettings) -> None:
        if not settings.url:
            raise SettingsError("expected the URL of a cloud, as in wss://cloud.example, got none")
        self._settings = settings
        self._tls: CloudTls | None = None
        self._looked_at = -math.inf

    @asynccontextmanager
    async def open(self, path: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[Connection]:
        """Connect, and hang up when left. Leaving takes next to no time, however the network is.

        Raises:
            BackendUnavailable: the cloud cannot be reached, or does not let us in.
            AtCapacity: it is full.
        """
        websocket = await self._connect(path, headers or {})
        try:
            yield Connection(websocket)
        finally:
            await _hang_up(websocket)

    async def _connect(self, path: str, headers: Mapping[str, str]) -> ClientConnection:
        try:
            async with asyncio.timeout(self._settings.connect_timeout_sec):
                return await self._dial(path, headers)
        except TimeoutError:
            message = f"the cloud did not answer within {self._settings.connect_timeout_sec:g} seconds"
            raise BackendUnavailable(message) from None
        except InvalidStatus as refused:
            raise _refused(refused.response) from refused
        except SettingsError as fault:
            raise BackendUnavailable(f"the cloud cannot be reached: {fault}") from fault
        except (OSError, EOFError, ValueError, WebSocketException) as error:  # ValueError: no name of a host, no URL
            raise BackendUnavailable(f"the cloud cannot be reached: {error}") from error

    async def _dial(self, path: str, headers: Mapping[str, str]) -> ClientConnection:
        return await connect_straight(
            self._settings.url + path,
            additional_headers={**headers, **self._authorization()},
            ssl=await self._context(),
            compression=None,  # sound does not get smaller, and each message would wait for it
            proxy=None,  # it would come from the environment, which is read in one place only
            open_timeout=None,  # there is one around everything
            ping_interval=None,  # the heartbeat looks after the way, and a stalled turn is missed by who waits for it
            close_timeout=PARTING_SEC,
            max_size=MAXIMUM_MESSAGE_BYTES,
            max_queue=FRAMES_AHEAD,
            logger=_logger,
        )  # TCP_NODELAY is set by the event loop

    def _authorization(self) -> dict[str, str]:
        key = self._settings.key
        return {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}

    async def _context(self) -> ssl.SSLContext | None:
        """Made once, and not on the event loop. Our certificate is looked at again now and then."""
        if not self._settings.url.startswith("wss:"):
            return None
        if self._tls is None:
            self._tls = await asyncio.to_thread(cloud_tls, self._settings)
        now = asyncio.get_running_loop().time()
        if self._tls.identity and now - self._looked_at >= LOOK_SEC:
            self._looked_at = now
            await self._tls.identity.look()
        return self._tls.context


async def _hang_up(websocket: ClientConnection) -> None:
    """Say goodbye and close, without waiting for the other end to say it too."""
    closing = asyncio.create_task(websocket.close())
    try:
        await asyncio.sleep(0)  # the goodbye is written
        websocket.transport.close()  # as soon as everything written has left
        await asyncio.wait([closing], timeout=PARTING_SEC)
    finally:
        websocket.transport.abort()
        await closing


def _lost(closed: ConnectionClosed) -> BackendError:
    if closed.rcvd is not None and closed.rcvd.code == CloseCode.TRY_AGAIN_LATER:
        return AtCapacity(f"the cloud is full: {closed}", retry_after_sec=RETRY_AFTER_SEC)
    if closed.rcvd is None and closed.sent is not None and closed.sent.code in _PEERS_NONSENSE:
        return BackendError(f"the cloud does not keep to the protocol: {closed}")
    return BackendUnavailable(f"the connection to the cloud is lost: {closed}")


def _refused(response: Response) -> BackendError:
    """An answer in HTTP where a WebSocket was asked for."""
    retry_after_sec = _seconds(*response.headers.get_all("Retry-After")[:1])
    message = f"the cloud refused the connection: HTTP {response.status_code} {response.reason_phrase}"
    if response.status_code == 429 or retry_after_sec is not None:
        return AtCapacity(message, retry_after_sec=retry_after_sec or RETRY_AFTER_SEC)
    return BackendUnavailable(message)


def _seconds(retry_after: str = "") -> float | None:
    """Only in seconds: a date would need a clock that agrees with theirs."""
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
