"""Keeps an eye on the cloud between turns, so that no user's turn has to find out how it is."""

from __future__ import annotations

import asyncio
import logging
from itertools import count

from edge_client.cloud.connection import Connection, Line
from edge_client.cloud.settings import CloudSettings
from routing.errors import BackendError, BackendUnavailable
from routing.outlook import Outlook
from routing.wire import Ping, Pong, encode

logger = logging.getLogger(__name__)

HEARTBEAT_PATH = "/v1/heartbeat"
FIRST_BACK_OFF = 0.25  # of the heartbeat's period: after a silence the next attempt comes sooner


class Heartbeat:
    """Sends a `Ping` now and then over one connection, and tells the outlook what comes back.

    Raises:
        SettingsError: the settings name no cloud.
    """

    def __init__(self, settings: CloudSettings, outlook: Outlook) -> None:
        self._settings = settings
        self._outlook = outlook
        self._line = Line(settings)
        self._back_off_sec = self._first_back_off_sec

    @property
    def _first_back_off_sec(self) -> float:
        return self._settings.heartbeat_sec * FIRST_BACK_OFF

    async def run(self) -> None:
        """Beat until cancelled, whatever happens. A silent cloud is tried again, less and less often."""
        while True:
            try:
                await self._beat_while_it_lasts()
            except BackendError as error:
                logger.info("no heartbeat from %s: %s", self._outlook.name, error)
            except Exception:
                logger.exception("the heartbeat of %s stumbled", self._outlook.name)
            self._outlook.note_silence(asyncio.get_running_loop().time())
            await asyncio.sleep(self._back_off_sec)
            self._back_off_sec = min(2 * self._back_off_sec, self._settings.longest_back_off_sec)

    async def _beat_while_it_lasts(self) -> None:
        async with self._line.open(HEARTBEAT_PATH) as connection:
            for number in count(1):
                await self._beat(connection, number)
                self._back_off_sec = self._first_back_off_sec
                await self._rest(connection)

    async def _beat(self, connection: Connection, number: int) -> None:
        loop = asyncio.get_running_loop()
        sent = loop.time()
        self._outlook.note_heartbeat(sent)
        try:
            async with asyncio.timeout(self._settings.heartbeat_timeout_sec):
                await connection.send(encode(Ping(number)))
                pong = await self._pong(connection, number)
        except TimeoutError:
            patience = self._settings.heartbeat_timeout_sec
            raise BackendUnavailable(f"expected a pong within {patience:g} seconds, got none") from None
        now = loop.time()
        self._outlook.note_round_trip(now - sent, now)
        self._outlook.note_load(pong.load, now)

    async def _pong(self, connection: Connection, number: int) -> Pong:
        message = await connection.receive()
        if isinstance(message, Pong) and message.number == number:
            return message
        raise BackendError(f"expected Pong {number}, got {message}")

    async def _rest(self, connection: Connection) -> None:
        """Until the next beat is due; a connection that breaks meanwhile is noticed at once."""
        try:
            async with asyncio.timeout(self._settings.heartbeat_sec):
                message = await connection.receive()
        except TimeoutError:
            return
        raise BackendError(f"expected nothing between two heartbeats, got {type(message).__name__}")
