"""What a supervisor and a worker tell each other, over a socket that only the two of them have.

::

    supervisor ──▶ Orders, once ──▶ worker      what to be: never on a command line or in the environment, it has keys
    supervisor ◀── Progress, Ready or Fault ◀── worker
    supervisor ──▶ Go, once ──▶ worker          take connections
    supervisor ──▶ Leave, once ──▶ worker       let the sessions go, and end

The end of the supervisor's side means: stop. It ends with the supervisor, however that comes about.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_client.settings import EdgeSettings
from routing.errors import AntiphonError, ModelError, SettingsError
from routing.telemetry.logs import LogForm

_LENGTH = struct.Struct("=I")
_RAISED = {kind.__name__: kind for kind in (ModelError, SettingsError)}


@dataclass(frozen=True, slots=True)
class Orders:
    """Everything a worker must know. ``listening`` and ``board`` are descriptors that it inherits."""

    number: int
    settings: EdgeSettings = field(repr=False)
    signing_key: bytes = field(repr=False)
    folder: Path
    listening: int
    board: int
    log_level: int
    log_form: LogForm = "text"

    def to(self, number: int) -> Orders:
        """The same for another worker."""
        return replace(self, number=number)


@dataclass(frozen=True, slots=True)
class Go:
    """All workers are ready, or were once."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The edge drains for at most so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    text: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The models are loaded, and the other workers are answered."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the worker cannot do its work."""

    kind: str
    text: str

    def error(self) -> AntiphonError:
        return _RAISED.get(self.kind, SettingsError)(self.text)


type Message = Orders | Go | Leave | Progress | Ready | Fault


def receive_orders(control: socket.socket) -> Orders:
    """The first message, waited for without an event loop."""
    (length,) = _LENGTH.unpack(control.recv(_LENGTH.size, socket.MSG_WAITALL))
    orders = pickle.loads(control.recv(length, socket.MSG_WAITALL))
    assert isinstance(orders, Orders), f"expected orders, got {orders!r}"
    return orders


class Control:
    """One end of the socket. ``close`` ends both directions."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, connected: socket.socket) -> Control:
        return cls(*await asyncio.open_unix_connection(sock=connected))

    def send(self, message: Message) -> None:
        """Never waits: there is little to say. What the other end does not hear any more is lost."""
        data = pickle.dumps(message)
        self._writer.write(_LENGTH.pack(len(data)) + data)

    async def receive(self) -> Message | None:
        """The next message, or None when the other end has gone."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            message: Message = pickle.loads(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return message

    def close(self) -> None:
        self._writer.close()
