"""A caller over WebRTC: speaks recordings in real time, hears the replies, and knows when each sample passed.

::

    async with Caller.connect("http://127.0.0.1:8080") as call:
        await call.say(samples)
        reply = await call.reply()

Where the server can resume calls, one outlives its connection: when nothing has come for a while the caller calls
again, and the conversation goes on over the new line. Where the server is about to end and lets the caller take the
session along, the caller moves to whoever takes calls at that address then, when nobody speaks.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from edge_client.caller.clock import CallerClock
from edge_client.caller.dialect import OPENAI, Dialect
from edge_client.caller.invitation import Invitation
from edge_client.caller.line import CONNECT_TIMEOUT_SEC, Ends, Line, Network, until
from edge_client.caller.loudness import is_audible
from edge_client.caller.measure import Interval
from edge_client.caller.microphone import MICROPHONE_RATE, Microphone
from edge_client.caller.packets import Packets
from edge_client.caller.recorder import Arrival
from edge_client.caller.reporter import Reporter
from edge_client.caller.signalling import calls_url, relays_of, resumption
from edge_client.caller.spoken import Reply, SpokenTurn
from edge_client.caller.trace_parent import trace_headers
from edge_client.webrtc.ice import LOOPBACK, Ice
from edge_client.webrtc.turn import Relays
from routing.errors import AtCapacity, BackendError, BackendUnavailable, InvalidRequest
from routing.turns import SPEECH_SAMPLE_RATE, AudioChunk, Samples

logger = logging.getLogger(__name__)

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
QUIET_SEC = 0.25  # of silence after the server said that everything was played
LONG_QUIET_SEC = 1.5  # of silence after which the reply is over where the server does not say so
LONGEST_REPLY_SEC = 60.0  # for servers that never fall silent
WATCH_SEC = 0.25
DOUBT_SEC = 3.0  # a line over which nothing came for so long may be cut
RESUME_SEC = 60.0  # how long an edge keeps the session of a caller who has vanished
MOST_REFUSALS = 5  # of attempts to resume one call, while the line may still come back
ANEW_SEC = 15.0  # to look for another server where this one has ended
RETRY_SEC = 1.0  # between two attempts to call again
HUSH_SEC = 0.3  # of a silent microphone before a call moves: what is said belongs to one line
LONGEST_HUSH_SEC = 3.0  # to wait for that: some rooms are never silent
GREETED_SEC = 5.0  # from the connection to the new server's first words
TRACED_SEC = 1.0  # for the trace of a turn to come, which is told at once when it was reported

# Servers transcribe only when they are asked to.
SESSION: Mapping[str, Any] = {
    "type": "realtime",
    "audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}},
}

type Json = dict[str, Any]
type OnEvent = Callable[[Json], None]


@dataclass(frozen=True, slots=True)
class Sound:
    """A live microphone and loudspeaker: ``read`` gives 24 kHz at the pace of the call, ``play`` takes 16 kHz."""

    read: Callable[[int], Samples]
    play: Callable[[Samples], None] = lambda samples: None


class Caller:
    """One call. Made by `connect`; everything runs on one event loop."""

    def __init__(
        self,
        where: str,
        *,
        key: str | None,
        sound: Sound | None,
        on_event: OnEvent,
        dialect: Dialect,
        network: Network | None,
        relays: Relays | None = None,
    ) -> None:
        self._where = where
        self._key = key
        self._on_event = on_event
        self._dialect = dialect
        self._network = network
        self._relays = relays
        self._trace = trace_headers(os.environ)
        self._reporter = self._new_reporter()
        self._reporting = False
        self._microphone = Microphone(time.monotonic)
        self._sound = sound or Sound(read=self._microphone.read)
        self._began_at = time.monotonic()
        self._line = self._new_line(network, idle=False)
        self._token: str | None = None  # what a call is resumed with; None: it ends with its connection
        self._last_event_id: str | None = None
        self._before: Line | None = None  # the line that was cut
        self._past = Packets()  # of the lines before this one
        self._refusals = 0  # of the attempts to resume it
        self._given_up = False  # nothing comes any more, and there is no other line to be had
        self.resumed = 0  # how often the call went on over another line
        self._invitation = Invitation()
        self._session: Json = {}  # what was asked for, to ask for again where a server takes nothing over
        self.moves_sec: list[float] = []  # of each move to another server: from the ticket to its first words
        self._watching: asyncio.Task[None] | None = None
        self._turn: SpokenTurn | None = None
        self._turn_before: SpokenTurn | None = None
        self._stirred_at = time.monotonic()  # when something last came: an event, or audible sound
        self._audible_at = float("-inf")  # when the last audible sound came
        self._spoke_at = float("-inf")  # when there was something to hear in the microphone

    def _new_reporter(self) -> Reporter:
        return Reporter(self._send_if_open, CallerClock.of_machine())

    def _new_line(
        self,
        network: Network | None,
        *,
        idle: bool,
        opened: Callable[[], None] = lambda: None,
        told: Callable[[str | bytes], None] | None = None,
    ) -> Line:
        ends = Ends(read=self._read, hear=self._heard, told=told or self._told, opened=opened)
        loopback = urlsplit(self._where).hostname in LOOPBACK_HOSTS
        return Line(ends, dialect=self._dialect, loopback=loopback, network=network, idle=idle, relays=self._relays)

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        *,
        key: str | None = None,
        model: str | None = None,
        session: Mapping[str, Any] | None = SESSION,
        sound: Sound | None = None,
        on_event: OnEvent = lambda event: None,
        dialect: Dialect = OPENAI,
        network: Network | None = None,
        reporting: bool = True,
        relayed: bool = False,
    ) -> AsyncIterator[Caller]:
        """Call ``url``, and hang up on leaving. ``on_event`` is told everything the server says.

        ``session`` is asked for where the server takes events, and ``sound`` takes the place of the recordings that
        `say` plays. ``network`` lies between the call and the server, but not in the way of the request that opens it.
        With ``reporting`` an Antiphon edge is told how each turn was for the caller, and tells its trace. With
        ``relayed`` it is asked for its TURN servers, and the sound goes through one where no direct way is found.

        Raises:
            BackendUnavailable, AtCapacity, InvalidRequest: there is no call; the message says why.
        """
        where = calls_url(url, model=model, dialect=dialect)
        relays = await relays_of(where, key=key) if relayed else None
        caller = cls(where, key=key, sound=sound, on_event=on_event, dialect=dialect, network=network, relays=relays)
        try:
            caller._token = await caller._line.connect(where, key=key, headers=caller._trace)
            caller._watching = asyncio.create_task(caller._watch())
            caller._session = dict(session) if session and dialect.has_events else {}
            caller._reporting = reporting and dialect.has_events
            caller._introduce()
            yield caller
        finally:
            await caller._hang_up()

    def _introduce(self) -> None:
        """What a server is told first that knows nothing of this call."""
        if self._session:
            self.send({"type": "session.update", "session": self._session})
        self._begin_reporting()

    def _begin_reporting(self) -> None:
        if self._reporting:
            self._reporter.begin(time.monotonic())

    @property
    def connect_sec(self) -> float | None:
        """From the offer until sound could flow; None before."""
        return self._line.connect_sec

    @property
    def ice(self) -> Ice:
        """The sockets of the call, for whoever wants to make their network worse."""
        return self._line.ice

    @property
    def _is_over(self) -> bool:
        return self._given_up or (self._line.is_over and self._token is None)

    async def _until(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        return await until(condition, timeout, is_over=lambda: self._is_over)

    # -- a turn --------------------------------------------------------------------------------------------------------

    async def say(self, samples: Samples, *, interrupting: bool = False) -> SpokenTurn:
        """Speak a recording (mono, `MICROPHONE_RATE`) and return when its last sample of speech has passed.

        Raises:
            InvalidRequest: there is no speech in it.
            BackendUnavailable: the call has ended.
        """
        spoken: list[Interval] = []
        self._microphone.say(samples, spoken.append)
        turn = self.listen(interrupting=interrupting)
        await self._until(lambda: bool(spoken), None)
        turn.speech = spoken[0]
        return turn

    def listen(self, *, interrupting: bool = False) -> SpokenTurn:
        """Begin a turn: what comes from now on belongs to it."""
        turn = SpokenTurn(interrupting=interrupting, packets=self.packets())
        self._turn_before, self._turn = self._turn, turn
        if self._turn_before:
            self._turn_before.watch.seal()
        return turn

    async def reply(self, timeout: float = 20.0) -> Reply:
        """What the last thing said brought: returns when the reply is over, or with what there is after ``timeout``."""
        await self.replied(timeout)
        turn = self._current
        self.report(turn)
        await self._traced(turn)
        return turn.reply()

    async def replied(self, timeout: float | None = None) -> bool:
        """Wait until the reply of this turn is over; False where that took too long."""
        turn = self._current
        return await self._until(lambda: self._is_replied(turn), timeout)

    def _is_replied(self, turn: SpokenTurn) -> bool:
        quiet_sec = time.monotonic() - self._stirred_at
        return turn.watch.finished and quiet_sec >= (QUIET_SEC if turn.watch.played else LONG_QUIET_SEC)

    def report(self, turn: SpokenTurn) -> None:
        """Tell an Antiphon edge how a turn was for the caller, once; does nothing where there is nothing to tell."""
        if turn.judged or not (self._reporter.is_answered and turn.watch.done):
            return
        turn.judged = True
        if heard := turn.heard(self.packets()):
            turn.reported = self._reporter.tell(heard, time.monotonic())

    async def _traced(self, turn: SpokenTurn) -> None:
        """Wait for the trace of a turn that was reported, for a while, where there is one."""
        if turn.reported and turn.watch.numbers.trace_id:
            with suppress(BackendUnavailable):  # the reply was heard all the same
                await self._until(lambda: turn.watch.traced is not None, TRACED_SEC)

    async def answered(self, *, patience_sec: float, quiet_sec: float) -> Reply:
        """What the last thing said brought, told by the sound alone, whatever events the server sends or does not.

        The reply is over when nothing could be heard for ``quiet_sec``. ``patience_sec`` is how long it may take to
        begin; what was said before the caller had finished is no reply.
        """
        turn = self._current
        assert turn.speech is not None, "the caller still speaks"
        end = turn.speech.end
        if await self._until(lambda: self._audible_at > end, patience_sec):
            await self._quiet(quiet_sec)
        return turn.reply()

    async def _quiet(self, quiet_sec: float) -> None:
        """Wait until nothing was heard for so long, or nothing will be any more."""
        try:
            await self._until(lambda: time.monotonic() - self._audible_at > quiet_sec, LONGEST_REPLY_SEC)
        except BackendUnavailable:
            logger.info("the call ended with the reply")

    async def stay(self, seconds: float) -> None:
        """Say nothing for so long.

        Raises:
            BackendUnavailable: the call has ended.
        """
        await self._until(lambda: False, seconds)

    async def audible(self, timeout: float = 10.0) -> bool:
        """Wait until something can be heard in answer to the last thing said; False where nothing came in time."""
        turn = self._current
        return await self._until(lambda: turn.recorder.audible, timeout)

    @property
    def _current(self) -> SpokenTurn:
        assert self._turn is not None, "nothing was said"
        return self._turn

    def _read(self, count: int) -> Samples:
        samples = self._sound.read(count)
        if self._invitation.is_draining and is_audible(samples, MICROPHONE_RATE):
            self._spoke_at = time.monotonic()
        return samples

    # -- what comes ----------------------------------------------------------------------------------------------------

    def _heard(self, samples: Samples) -> None:
        if not len(samples):
            return
        self._sound.play(samples)
        arrival = Arrival(time.monotonic(), AudioChunk(samples, SPEECH_SAMPLE_RATE))
        if arrival.audible:
            self._stirred_at = self._audible_at = arrival.at
        if self._turn:
            self._turn.recorder.write(arrival)

    def _told(self, message: str | bytes) -> None:
        try:
            event = json.loads(message)
        except ValueError:
            logger.warning("the server sent something that is no JSON: %.80r", message)
            return
        self._note_id(event)
        if self._reporter.take(event, time.monotonic()):
            return
        if self._invitation.take(event, time.monotonic()):
            self._on_event(event)
            return
        self._stirred_at = time.monotonic()
        for turn in (self._turn_before, self._turn):
            if turn:
                turn.watch.feed(event)
        if self._turn_before:
            self.report(self._turn_before)  # it was cut
        self._on_event(event)

    def _note_id(self, event: object) -> None:
        match event:
            case {"event_id": str(event_id)}:
                self._last_event_id = event_id

    def packets(self) -> Packets:
        """How the sound came through so far."""
        return self._past + self._line.packets()

    def send(self, event: Json) -> None:
        """Send a client event.

        Raises:
            BackendUnavailable: the call has ended.
        """
        self._line.send(json.dumps(event))

    def _send_if_open(self, event: Json) -> None:
        with suppress(BackendUnavailable):
            self.send(event)

    # -- when the line is cut ------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Call again when the line is cut, for as long as the server resumes calls; move when it is about to end."""
        while self._token:
            await asyncio.sleep(WATCH_SEC)
            ticket = self._invitation.ticket(time.monotonic())
            if ticket:
                await self._try_to_move(ticket)
            elif self._line.is_over and self._invitation.is_draining:
                await self._begin_anew()
            elif self._line.quiet_sec > DOUBT_SEC:
                await self._recover(time.monotonic() + RESUME_SEC)
            elif self._line.is_over:
                self._token = None  # the server has hung up

    async def _recover(self, deadline: float) -> None:
        """Go on over another line, or over the same one where that is there first."""
        logger.info("nothing has come for %.0f s: calling again", self._line.quiet_sec)
        self._refusals = 0
        while self._token and self._line.quiet_sec > DOUBT_SEC:
            if time.monotonic() > deadline:
                self._give_up()
                return
            try:
                await self._call_again(self._token)
            except InvalidRequest:
                await self._bear_refusal()
            except BackendError as fault:
                logger.info("the call could not be resumed yet: %s", fault)
                await asyncio.sleep(RETRY_SEC)

    async def _bear_refusal(self) -> None:
        """There is nothing to go on with any more; or it is at another of several servers behind one address."""
        self._refusals += 1
        if not self._line.is_over and self._refusals < MOST_REFUSALS:
            await asyncio.sleep(RETRY_SEC)
        elif self._invitation.is_draining:
            await self._begin_anew()
        else:
            self._give_up()

    def _give_up(self) -> None:
        self._token = None
        self._given_up = True

    async def _call_again(self, token: str) -> None:
        network = self._network and self._network.later(time.monotonic() - self._began_at)
        if network and network.cut_sec:  # it is in the way of the request too
            await asyncio.sleep(WATCH_SEC)
            return
        await self._renew_relays()
        line = self._new_line(network, idle=True, opened=lambda: self._resume(line))
        try:
            await line.connect(
                self._where, key=self._key, headers={**self._trace, **resumption(token, self._last_event_id)}
            )
        finally:
            left = self._before if line is self._line else line
            if left:
                await left.hang_up()

    async def _renew_relays(self) -> None:
        if self._relays is None or self._relays.expires_at > time.time() + CONNECT_TIMEOUT_SEC:
            return
        try:
            self._relays = await relays_of(self._where, key=self._key)
        except InvalidRequest:  # who takes calls there now has none, and a direct way may do
            self._relays = None

    def _resume(self, line: Line) -> None:
        self._switch(line)
        self.resumed += 1

    def _switch(self, line: Line) -> None:
        """The new line carries the call from its first event on."""
        self._before, self._line = self._line, line
        self._past += self._before.packets()
        self._before.idle, line.idle = True, False

    # -- when the server is about to end -------------------------------------------------------------------------------

    async def _try_to_move(self, ticket: str) -> None:
        """Go on elsewhere, with the session that the ticket is for."""
        try:
            if await self._hush(ticket) and await self._move(ticket):
                self._begin_reporting()
        except InvalidRequest as fault:
            logger.info("the ticket is no good: %s", fault)
            self._invitation.decline(ticket)
        except BackendError as fault:
            logger.info("nobody takes the call over yet: %s", fault)
            await asyncio.sleep(min(fault.retry_after_sec if isinstance(fault, AtCapacity) else RETRY_SEC, RETRY_SEC))

    async def _begin_anew(self) -> None:
        """The server has hung up and nothing was taken along: talk on, with somebody who knows nothing of it."""
        deadline = time.monotonic() + ANEW_SEC
        while time.monotonic() < deadline:
            try:
                if await self._move(None):
                    self._introduce()
                    return
            except InvalidRequest as fault:
                logger.info("nobody may take the call over: %s", fault)
                break
            except BackendError as fault:
                logger.info("nobody takes calls in its place yet: %s", fault)
                await asyncio.sleep(RETRY_SEC)
        logger.warning("the server has ended, and nobody takes calls in its place")
        self._give_up()

    async def _move(self, ticket: str | None) -> bool:
        """Whether the call is carried by another line now; not where something was said on this one before."""
        held: list[str | bytes] = []
        network = self._network and self._network.later(time.monotonic() - self._began_at)

        def told(message: str | bytes) -> None:
            if line is self._line:
                self._told(message)
            else:
                held.append(message)

        await self._renew_relays()
        line = self._new_line(network, idle=True, told=told)
        try:
            token = await line.connect(self._where, key=self._key, headers=self._trace, ticket=ticket)
            if await until(lambda: bool(held), GREETED_SEC, is_over=lambda: line.is_over) and await self._hush(ticket):
                self._change_over(line, token, held)
        finally:
            left = self._before if line is self._line else line
            assert left is not None
            await left.hang_up()
        return line is self._line

    async def _hush(self, ticket: str | None) -> bool:
        """Wait until nobody speaks; returns whether the ticket is still good then."""
        await self._until(lambda: time.monotonic() - self._spoke_at >= HUSH_SEC, LONGEST_HUSH_SEC)
        return ticket is None or ticket == self._invitation.ticket(time.monotonic())

    def _change_over(self, line: Line, token: str | None, held: list[str | bytes]) -> None:
        self.moves_sec.append(self._invitation.waited_sec(time.monotonic()))
        self._token = token
        self._invitation = Invitation()
        self._reporter = self._new_reporter()  # another machine has another clock
        self._switch(line)
        for message in held:
            self._told(message)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _hang_up(self) -> None:
        if self._watching:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        await self._line.hang_up()


async def warm_up() -> None:
    """Do what the first call of a process does besides, such as loading code: whoever measures one does this before."""
    with socket.socket() as refusing:
        refusing.bind((LOOPBACK, 0))
        where = f"http://{LOOPBACK}:{refusing.getsockname()[1]}"
        try:
            async with Caller.connect(where):
                pass
        except BackendUnavailable:
            pass  # nobody listens
