"""What the receive path leans on in aiortc, and sound between two real peers."""

from __future__ import annotations

import inspect

from aiortc import RTCConfiguration, RTCPeerConnection


async def test_the_private_names_of_aiortc_are_there() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = connection.addTransceiver("audio").receiver
    assert receiver._RTCRtpReceiver__codecs == {}  # type: ignore[attr-defined]
    assert receiver._RTCRtpReceiver__remote_streams == {}  # type: ignore[attr-defined]
    assert receiver._RTCRtpReceiver__started is False  # type: ignore[attr-defined]
    assert receiver._RTCRtpReceiver__rtcp_task is None  # type: ignore[attr-defined]
    assert receiver._RTCRtpReceiver__decoder_thread is None  # type: ignore[attr-defined]
    assert callable(receiver._RTCRtpReceiver__stop_decoder)  # type: ignore[attr-defined]
    assert inspect.iscoroutinefunction(receiver._run_rtcp)
    assert parameters(receiver._handle_rtp_packet) == ["packet", "arrival_time_ms"]
    assert parameters(receiver.receive) == ["parameters"]
    assert parameters(receiver.transport._register_rtp_receiver) == ["receiver", "parameters"]
    await connection.close()


def parameters(function: object) -> list[str]:
    assert callable(function)
    return list(inspect.signature(function).parameters)
