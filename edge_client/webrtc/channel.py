"""The data channel for events: text both ways, bounded both ways."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiortc import InvalidStateError, RTCDataChannel

from edge_client.webrtc.budget import Budget
from edge_client.webrtc.event_pace import LONGEST_FLOOD_SEC, EventPace
from routing.errors import InvalidRequest

logger = logging.getLogger(__name__)

EVENTS_CHANNEL = "oai-events"
MOST_CHANNELS = 16  # that a caller may open, one after the other; all but one are closed again

EVENTS_PER_SEC = 200.0

# How often a caller is told what is wrong with its messages. One who does not listen is let go.
REFUSALS_PER_SEC = 10
REFUSALS_SAVED = 100


class EventsChannel:
    """The first data channel of this name that the caller opens; any other is closed again.

    ``on_refused`` is told why a message was not taken, or that no more will be for a while: beyond ``events_per_sec``
    whoever moves the data shall leave it with its sender until there `has_room`. ``on_excess`` is told why the call
    should end.
    """

    def __init__(
        self,
        *,
        on_open: Callable[[], None],
        on_text: Callable[[str], None],
        on_refused: Callable[[InvalidRequest], None],
        on_excess: Callable[[str], None],
        maximum_message_bytes: int,
        maximum_buffered_bytes: int,
        events_per_sec: float = EVENTS_PER_SEC,
    ) -> None:
        self._on_open = on_open
        self._on_text = on_text
        self._on_refused = on_refused
        self._on_excess = on_excess
        self._maximum_message_bytes = maximum_message_bytes
        self._maximum_buffered_bytes = maximum_buffered_bytes
        self._channel: RTCDataChannel | None = None
        self._offered = 0
        self._events_per_sec = events_per_sec
        self._pace = EventPace(per_sec=events_per_sec)
        self._go_on_at = float("-inf")
        self._patience = Budget(per_sec=REFUSALS_PER_SEC, saved=REFUSALS_SAVED)
        self.refused = 0  # messages that were binary, too long or too many

    def offered(self, channel: RTCDataChannel) -> None:
        """The caller has opened a data channel."""
        self._offered += 1
        if self._offered > MOST_CHANNELS:
            self._on_excess(f"more than {MOST_CHANNELS} data channels")
        elif channel.label == EVENTS_CHANNEL and self._channel is None:
            self._take(channel)
        else:
            logger.info("closed a data channel other than the first %s", EVENTS_CHANNEL)
            channel.close()

    def _take(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", self._received)
        self._on_open()

    def send(self, text: str) -> bool:
        """Send one message; False where the channel is not open, or the caller has stopped taking messages."""
        channel = self._channel
        if channel is None or channel.bufferedAmount > self._maximum_buffered_bytes:
            return False
        try:
            channel.send(text)
        except InvalidStateError:  # not open
            return False
        except ValueError as exc:  # longer than the caller said it takes
            logger.warning("a message of %d characters was not sent: %s", len(text), exc)
            return False
        return True

    # -- what comes in -------------------------------------------------------------------------------------------------

    def has_room(self, now: float) -> bool:
        """Whether the next message may come."""
        return now >= self._go_on_at

    def _received(self, message: str | bytes) -> None:
        now = asyncio.get_running_loop().time()
        self._keep_pace(now)
        fault = self._fault(message)
        if fault is None:
            assert isinstance(message, str)
            self._on_text(message)
        else:
            self._refuse(fault, now)

    def _keep_pace(self, now: float) -> None:
        was_flooded = self._pace.is_flooded
        self._go_on_at = now + self._pace.read(now, is_sound=False)
        if self._pace.is_flooded and not was_flooded:
            message = f"expected at most {self._events_per_sec:g} events a second, got more: they are read at this pace"
            self._on_refused(InvalidRequest(message, code="rate_limit_exceeded"))
        if self._pace.flood_sec(now) > LONGEST_FLOOD_SEC:
            self._on_excess(f"more than {self._events_per_sec:g} events a second, without end")

    def _fault(self, message: str | bytes) -> InvalidRequest | None:
        if isinstance(message, bytes):
            return InvalidRequest("expected events as text, got a binary message", code="invalid_event")
        size = len(message.encode())
        if size > self._maximum_message_bytes:
            return InvalidRequest(
                f"expected an event of at most {self._maximum_message_bytes} bytes, got {size}", code="event_too_large"
            )
        return None

    def _refuse(self, fault: InvalidRequest, now: float) -> None:
        self.refused += 1
        if self._patience.spend(now):
            logger.warning("refused a message on the data channel: %s", fault.code)  # its text may quote the caller
            self._on_refused(fault)
        else:
            self._on_excess("messages that are refused, and no end of them")
