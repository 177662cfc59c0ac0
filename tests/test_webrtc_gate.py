"""Who may send what to a call before anything is decrypted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.webrtc.gate import MOST_SENDERS, SAVED_SEC, STRANGERS_PER_SEC, Gate

USERNAME = b"Mn0S:"  # ours, as the caller was told it
CHECK = b"\x00\x01" + bytes(22) + USERNAME + b"theirs"
HANDSHAKE = b"\x16\xfe\xfd" + bytes(60)


def sound(sender: int, number: int = 0) -> bytes:
    return b"\x80\x6f" + number.to_bytes(2) + bytes(4) + sender.to_bytes(4) + b"opus"


def report(sender: int) -> bytes:
    return b"\x81\xc9\x00\x07" + sender.to_bytes(4) + bytes(24)


def admitted(gate: Gate, datagrams: list[bytes], *, known: bool = True, now: float = 0.0) -> int:
    return sum(gate.admits(datagram, known=known, username=USERNAME, now=now) for datagram in datagrams)


@pytest.mark.parametrize(
    "datagram", [HANDSHAKE, sound(1), report(1), b"junk" * 100, b"\x00\x01" + bytes(18), b"\xff", b""]
)
def test_a_stranger_may_send_nothing_but_checks(datagram: bytes) -> None:
    gate = Gate(datagrams_per_sec=300)
    assert not gate.admits(datagram, known=False, username=USERNAME, now=0.0)
    assert gate.admits(CHECK, known=False, username=USERNAME, now=0.0)
    assert gate.admits(datagram, known=True, username=USERNAME, now=0.0) == bool(datagram)


def test_a_flood_of_strangers_takes_nothing_from_the_caller() -> None:
    gate = Gate(datagrams_per_sec=300)
    assert admitted(gate, [CHECK] * 1000, known=False) == STRANGERS_PER_SEC
    assert admitted(gate, [sound(1)] * 100) == 100


def test_a_caller_has_a_rate_and_what_waited_in_a_cut_link() -> None:
    gate = Gate(datagrams_per_sec=300)
    assert admitted(gate, [sound(1)] * 10_000) == 300 * SAVED_SEC
    assert admitted(gate, [sound(1)] * 10_000, now=1.0) == 300


def test_a_caller_may_begin_anew_some_times_but_not_for_ever() -> None:
    gate = Gate(datagrams_per_sec=300)
    for sender in range(100):
        if gate.admits(sound(sender), known=True, username=USERNAME, now=0.0):
            gate.heard(sound(sender))
    assert admitted(gate, [sound(sender) for sender in range(100)]) == MOST_SENDERS
    assert admitted(gate, [report(sender) for sender in range(100)]) == MOST_SENDERS
    assert gate.admits(HANDSHAKE, known=True, username=USERNAME, now=0.0)


def test_senders_that_were_never_authenticated_take_no_place() -> None:
    gate = Gate(datagrams_per_sec=300)
    assert admitted(gate, [sound(sender) for sender in range(1, 100)]) == 99
    assert gate.admits(sound(100), known=True, username=USERNAME, now=0.0)


@given(st.binary(max_size=40), st.booleans())
def test_any_bytes_are_decided_upon(datagram: bytes, known: bool) -> None:
    gate = Gate(datagrams_per_sec=300)
    for sender in range(MOST_SENDERS):
        gate.heard(sound(sender))
    assert gate.admits(datagram, known=known, username=USERNAME, now=0.0) in (True, False)
