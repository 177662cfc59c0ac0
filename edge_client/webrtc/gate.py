"""Which datagrams of a call are let in, decided before anything is decrypted or kept. Sans-I/O.

Whoever guesses a port can send to it, and a caller can send as fast as the line allows. Neither may cost the other
calls anything.
"""

from __future__ import annotations

from edge_client.webrtc.budget import Budget

STRANGERS_PER_SEC = 50  # connectivity checks from new addresses; a caller makes a handful for each of its own
SAVED_SEC = 5.0  # how much of its rate a caller may save up: after a cut link everything comes at once

# Senders of one call. A caller is one or two, and a few more after it began anew; aiortc and libsrtp keep something
# for each as long as the call lasts.
MOST_SENDERS = 16


class Gate:
    """The entrance of one call. Time is passed in, in seconds."""

    def __init__(self, *, datagrams_per_sec: int) -> None:
        self._caller = Budget(per_sec=datagrams_per_sec, saved=datagrams_per_sec * SAVED_SEC)
        self._strangers = Budget(per_sec=STRANGERS_PER_SEC, saved=STRANGERS_PER_SEC)
        self._senders: set[bytes] = set()

    def admits(self, datagram: bytes, *, known: bool, username: bytes, now: float) -> bool:
        """``known`` tells whether the sender's address has proved to be the caller's.

        A stranger may send connectivity checks only, and only with our ``username``, which stands in the answer: the
        caller sends one before it sends anything else.
        """
        if not datagram or not (known or (is_check(datagram) and username in datagram)):
            return False
        if self._is_sender_too_many(datagram):
            return False
        return (self._caller if known else self._strangers).spend(now)

    def heard(self, packet: bytes) -> None:
        """Something of sound or about it has come that only the caller can have sent."""
        if len(self._senders) < MOST_SENDERS:
            self._senders.add(_sender(packet))

    def _is_sender_too_many(self, datagram: bytes) -> bool:
        return len(self._senders) >= MOST_SENDERS and is_sound(datagram) and _sender(datagram) not in self._senders


# -- what a datagram is (RFC 7983, RFC 5761) -------------------------------------------------------------------------


def is_check(datagram: bytes) -> bool:
    return datagram[0] < 4


def is_sound(datagram: bytes) -> bool:
    """RTP or RTCP."""
    return 127 < datagram[0] < 192


def _sender(packet: bytes) -> bytes:
    """The SSRC: it stands in the clear, in RTCP before and in RTP after the timestamp."""
    is_report = len(packet) > 1 and 191 < packet[1] < 224
    return packet[4:8] if is_report else packet[8:12]
