"""The sound of a call: one stream each way, as Opus."""

from __future__ import annotations

from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender, RTCRtpTransceiver


def opus_transceiver(connection: RTCPeerConnection, track: MediaStreamTrack) -> RTCRtpTransceiver:
    """Send ``track`` and receive. With Opus as the only choice, an offer without it is refused; else G.711 would do."""
    transceiver = connection.addTransceiver(track, direction="sendrecv")
    codecs = RTCRtpSender.getCapabilities("audio").codecs
    transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType.lower() == "audio/opus"])
    return transceiver
