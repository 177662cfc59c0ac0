"""The data channel for events: text both ways, bounded both ways."""

from __future__ import annotations

import logging
from collections.abc import Callable

from aiortc import InvalidStateError, RTCDataChannel

logger = logging.getLogger(__name__)

EVENTS_CHANNEL = "oai-events"


class EventsChannel:
    """The first data channel of this name that the caller opens; any other is closed again."""

    def __init__(
        self,
        *,
        on_open: Callable[[], None],
        on_text: Callable[[str], None],
        maximum_message_bytes: int,
        maximum_buffered_bytes: int,
    ) -> None:
        self._on_open = on_open
        self._on_text = on_text
        self._maximum_message_bytes = maximum_message_bytes
        self._maximum_buffered_bytes = maximum_buffered_bytes
        self._channel: RTCDataChannel | None = None
        self.refused = 0  # messages that were binary or too long

    def offered(self, channel: RTCDataChannel) -> None:
        """The caller has opened a data channel."""
        if channel.label != EVENTS_CHANNEL or self._channel is not None:
            logger.info("closed a data channel other than the first %s", EVENTS_CHANNEL)
            channel.close()
            return
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

    def _received(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self._refuse("binary")
        elif len(message.encode()) > self._maximum_message_bytes:
            self._refuse(f"longer than {self._maximum_message_bytes} bytes")
        else:
            self._on_text(message)

    def _refuse(self, fault: str) -> None:
        self.refused += 1
        logger.warning("refused a message on the data channel: it is %s", fault)
