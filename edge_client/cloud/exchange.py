"""One turn's dealings with the cloud."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator

from edge_client.cloud.connection import PARTING_SEC, Connection, Line
from edge_client.cloud.track import Track
from edge_client.connecting import Connecting
from routing.errors import BackendError, BackendUnavailable, UnsuitedTurn
from routing.refusal import error_of
from routing.telemetry import names
from routing.telemetry.carrier import plain_carrier
from routing.telemetry.traced_backend import Journey
from routing.turns import SPEECH_SAMPLE_RATE, AudioChunk, Heard, ReplyEnd, ReplyEvent, Turn
from routing.wire import (
    MAXIMUM_TURN_SEC,
    Ask,
    Commit,
    Message,
    Open,
    Pong,
    Refused,
    RollBack,
    Speech,
    Told,
    Welcome,
    WireError,
    encode,
    has_question,
)

logger = logging.getLogger(__name__)

TURNS_PATH = "/v1/turns"
RPC_SYSTEM = "ray_serve"
LONGEST_CHUNK_SAMPLES = 10 * SPEECH_SAMPLE_RATE  # in one message


class CloudExchange:
    """Collects what is to be sent, while the connection is made and after; see `routing.turns.Exchange`.

    Made by `CloudBackend.open`, which runs `carry` beside it.
    """

    def __init__(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> None:
        self.replica: str | None = None  # where in the cloud the turn is answered, once that is known
        self._turn = turn
        self._on_heard = on_heard
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue()  # bounded by the turn: its speech, and few words
        self._speech_sec = 0.0
        self._attempts = 0
        self._track: Track | None = None  # of the attempt that is open, be it told to its end or not
        self._replying = False
        self._committed = False
        self._fault: BackendError | None = None
        self._connecting: Connecting | None = None
        if turn.privacy == "device_only":
            self._fail(UnsuitedTurn("a turn that shall not leave the device was offered to the cloud"))
        self._post(Open(turn))

    def feed(self, chunk: AudioChunk) -> None:
        """See `routing.turns.Exchange`. A turn that goes on for too long cannot be answered here."""
        assert chunk.sample_rate == SPEECH_SAMPLE_RATE
        if self._committed:  # the turn was over before this was said
            return
        self._speech_sec += chunk.duration_sec
        if self._speech_sec > MAXIMUM_TURN_SEC:
            self._fail(UnsuitedTurn(f"expected at most {MAXIMUM_TURN_SEC:g} seconds of speech in a turn, got more"))
        for piece in _pieces(chunk):
            self._post(Speech(piece))

    async def reply(self) -> AsyncGenerator[ReplyEvent]:
        """See `routing.turns.Exchange`."""
        assert not self._replying, "one reply at a time"
        self._replying, ended = True, False
        track = self._ask()
        try:
            while not ended:
                event = await track.next()
                ended = isinstance(event, ReplyEnd)
                yield event
        finally:
            self._replying = False
            if not ended:
                self._abandon(track)

    def commit(self) -> None:
        """See `routing.turns.Exchange`."""
        assert not self._committed, "a turn is over once"
        self._committed = True
        if self._track is not None:
            self._post(Commit(self._track.attempt))

    # -- attempts ------------------------------------------------------------------------------------------------------

    def _ask(self) -> Track:
        if self._track is not None:
            self._abandon(self._track)
        self._attempts += 1
        self._track = Track(self._attempts)
        if not self._speech_sec and not has_question(self._turn):
            self._fail(UnsuitedTurn("expected speech or a question at the end of the history, got nothing to answer"))
        self._post(Ask(self._attempts))
        if self._committed:  # before the reply began to be read
            self._post(Commit(self._attempts))
        if self._fault is not None:
            self._track.fail(self._fault)
        return self._track

    def _abandon(self, track: Track) -> None:
        track.close()
        self._track = None
        if self._committed:
            self._outbox.put_nowait(None)  # nothing is left to be said: hanging up stops the work at once
        else:
            self._post(RollBack(track.attempt))

    def _post(self, message: Message) -> None:
        if self._fault is not None:
            return
        try:
            self._outbox.put_nowait(encode(message))
        except WireError as error:
            self._fail(UnsuitedTurn(f"the turn cannot be sent to the cloud: {error}"))

    def _fail(self, fault: BackendError) -> None:
        """Nothing more will come, and nothing more is sent."""
        self._fault = self._fault or fault
        while not self._outbox.empty():
            self._outbox.get_nowait()
        self._outbox.put_nowait(None)
        if self._track is not None:
            self._track.fail(self._fault)

    def journey(self) -> Journey:
        """See `routing.telemetry.traced_backend.Travelled`."""
        return Journey(
            phases=(self._connecting.phase(names.CLOUD_CONNECT),) if self._connecting else (),
            attributes={names.RPC_SYSTEM: RPC_SYSTEM, names.REPLICA_ID: self.replica},
        )

    # -- the connection ------------------------------------------------------------------------------------------------

    async def carry(self, line: Line) -> None:
        """Connect, send what is to be sent and take what comes, until cancelled or nothing is left to be done."""
        if self._fault is not None:  # before anything was sent, and nothing shall be
            return
        connecting = self._connecting = Connecting()
        try:
            async with line.open(TURNS_PATH, plain_carrier(self._turn.trace_context)) as connection:
                connecting.done()
                await self._converse(connection)
        except* BackendError as faults:
            connecting.fail(_first(faults))
            self._fail(_first(faults))
        except* Exception:
            logger.exception("the exchange with the cloud stumbled")  # the turn can still be answered elsewhere
            self._fail(BackendError("the exchange with the cloud stumbled over a fault of our own"))
        else:
            self._fail(BackendUnavailable("the turn is over"))

    async def _converse(self, connection: Connection) -> None:
        async with asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(self._receive(connection))
            await self._send(connection)
            receiving.cancel()

    async def _send(self, connection: Connection) -> None:
        try:
            while (data := await self._outbox.get()) is not None:
                await connection.send(data)
        except BackendError:  # who receives will say why, after what the cloud said before
            await asyncio.Event().wait()
        finally:
            if self._committed:
                await self._send_rest(connection)

    async def _send_rest(self, connection: Connection) -> None:
        """A turn that is left right after its commit was answered, not given up: the cloud shall know."""
        try:
            async with asyncio.timeout(PARTING_SEC):
                while not self._outbox.empty() and (data := self._outbox.get_nowait()) is not None:
                    await connection.send(data)
        except (BackendError, TimeoutError):
            return

    async def _receive(self, connection: Connection) -> None:
        while True:
            await self._take(await connection.receive())
            await asyncio.sleep(0)  # what has come already is there without waiting: others have their turn between

    async def _take(self, message: Message) -> None:
        match message:
            case Told(0, Heard() as heard):
                self._on_heard(heard)
            case Told(attempt, event):
                if track := self._track_of(attempt):
                    await track.put(event)
            case Refused(0):
                raise error_of(message)
            case Refused(attempt):
                if track := self._track_of(attempt):
                    track.fail(error_of(message))
            case Welcome(replica):
                self.replica = replica
            case Pong():
                pass
            case _:
                raise BackendError(f"expected the cloud to answer, got {type(message).__name__} from it")

    def _track_of(self, attempt: int) -> Track | None:
        """None for an attempt that was rolled back: what comes of it was on the way already."""
        if attempt > self._attempts:
            raise BackendError(f"expected an answer to one of {self._attempts} attempts, got one to {attempt}")
        return self._track if self._track is not None and self._track.attempt == attempt else None


def _pieces(chunk: AudioChunk) -> Iterator[AudioChunk]:
    for start in range(0, len(chunk.samples), LONGEST_CHUNK_SAMPLES):
        yield AudioChunk(chunk.samples[start : start + LONGEST_CHUNK_SAMPLES], chunk.sample_rate)


def _first(faults: BaseExceptionGroup[BackendError]) -> BackendError:
    fault = faults.exceptions[0]
    return _first(fault) if isinstance(fault, BaseExceptionGroup) else fault
