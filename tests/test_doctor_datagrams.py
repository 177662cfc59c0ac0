"""UDP goes back and forth on this machine's addresses, and what is wrong with others is told."""

from __future__ import annotations

from edge_client.doctor.datagrams import _unknown, look_at_datagrams
from edge_client.settings import EdgeSettings
from edge_client.webrtc.peer import PeerSettings


async def test_loopback_takes_what_it_is_sent() -> None:
    [found] = await look_at_datagrams(EdgeSettings(peer=PeerSettings(listen_addresses=("127.0.0.1",))))
    assert (found.verdict, found.found) == ("ok", "sent and received on 127.0.0.1")


async def test_the_addresses_of_this_machine_are_found() -> None:
    [found] = await look_at_datagrams(EdgeSettings(host="0.0.0.0", api_keys=("a key",)))  # type: ignore[arg-type]
    assert found.verdict in {"ok", "warning"}, found.line  # a machine may have no other than loopback


async def test_an_address_of_another_machine_is_a_fault() -> None:
    peer = PeerSettings(listen_addresses=("127.0.0.1", "192.0.2.77"))
    [found] = await look_at_datagrams(EdgeSettings(peer=peer))
    assert found.verdict == "fault"
    assert found.found.startswith("192.0.2.77: ")
    assert "peer.listen_addresses" in found.advice


def test_the_reason_is_told_where_it_has_no_number() -> None:
    error = OSError("could not bind to local_addr ('192.0.2.77', 0)")  # as uvloop has it
    assert _unknown("192.0.2.77", error).found == f"192.0.2.77: {error}"


async def test_loopback_alone_is_little_for_callers_from_elsewhere() -> None:
    peer = PeerSettings(listen_addresses=("127.0.0.1",))
    [found] = await look_at_datagrams(EdgeSettings(host="0.0.0.0", api_keys=("a key",), peer=peer))  # type: ignore[arg-type]
    assert (found.verdict, found.found) == ("warning", "only 127.0.0.1")
