"""What callers report of the loss: what this leans on in aiortc, and how reports become an estimate."""

from __future__ import annotations

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.rtp import RtcpByePacket, RtcpReceiverInfo, RtcpRrPacket
from hypothesis import given
from hypothesis import strategies as st

from edge_client.network.emulated import emulate
from edge_client.network.profile import NetworkProfile
from edge_client.webrtc.loss_reports import HALF_LIFE_SEC, LossEstimate, on_loss_report
from tests.silent_call import silent_call

PERFECT = NetworkProfile(name="perfect")


def report(ssrc: int, fraction_lost: int) -> RtcpRrPacket:
    info = RtcpReceiverInfo(
        ssrc=ssrc, fraction_lost=fraction_lost, packets_lost=3, highest_sequence=9, jitter=2, lsr=0, dlsr=0
    )
    return RtcpRrPacket(ssrc=77, reports=[info])


async def test_reports_on_what_is_sent_are_told_and_reach_aiortc_as_well() -> None:
    connection, told = RTCPeerConnection(RTCConfiguration(iceServers=[])), list[float]()
    sender = connection.addTransceiver("audio").sender
    on_loss_report(sender, told.append)

    await sender._handle_rtcp_packet(report(sender._ssrc, 64))
    await sender._handle_rtcp_packet(report(sender._ssrc + 1, 255))
    await sender._handle_rtcp_packet(RtcpByePacket(sources=[77]))

    assert told == [0.25]
    statistics = (await sender.getStats()).values()
    assert [part.fractionLost for part in statistics if part.type == "remote-inbound-rtp"] == [64]
    await connection.close()


@pytest.mark.slow  # reports go out every second or so
@pytest.mark.timeout(60)
async def test_a_caller_who_loses_packets_is_sent_stronger_ones() -> None:
    async with silent_call() as (caller, peer):
        assert peer.statistics().playout.expected_loss == 0.0

        emulate(caller.ice, PERFECT, seed=1, way_back=NetworkProfile(name="lossy", loss=0.3))
        await caller.until(lambda: peer.statistics().playout.expected_loss > 0.1)


def test_one_bad_second_counts_little_and_a_bad_link_is_believed_in_seconds() -> None:
    estimate = LossEstimate()
    for second in range(20):
        estimate.report(0.0, second)
    estimate.report(0.4, 20.0)
    assert estimate.fraction < 0.06

    for second in range(21, 40):
        estimate.report(0.4, second)
    assert estimate.fraction == pytest.approx(0.4, abs=0.04)


def test_after_the_half_life_a_change_counts_by_half() -> None:
    estimate = LossEstimate()
    estimate.report(0.0, 0.0)
    estimate.report(0.2, HALF_LIFE_SEC)
    assert estimate.fraction == pytest.approx(0.1)


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 20.0)), max_size=30))
def test_the_estimate_stays_within_what_was_reported(reports: list[tuple[float, float]]) -> None:
    estimate, now = LossEstimate(), 0.0
    for fraction, elapsed in reports:
        now += elapsed
        estimate.report(fraction, now)
    assert 0.0 <= estimate.fraction <= max([0.0, *(fraction for fraction, _ in reports)]) + 1e-9
