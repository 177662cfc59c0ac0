"""What a call takes of the network, packet by packet.

Sound goes as Opus in packets of 20 ms, each in RTP (RFC 3550, with one extension of RFC 8285 that names the stream),
SRTP (RFC 3711, a tag of 80 bits), UDP and IP. DTLS is there for the handshake and for the data channel only, whose
events are few beside the sound; so are RTCP's reports, for which RFC 3550, section 6.2, leaves a twentieth.
"""

from __future__ import annotations

from dataclasses import dataclass

from deployments.plan.settings import PlanSettings, TrafficSettings

PACKETS_PER_SEC = 50  # of 20 ms
RTP, RTP_EXTENSION, SRTP_TAG, UDP, IPV4, IPV6 = 12, 8, 10, 8, 20, 40  # bytes
TURN_CHANNEL = 4  # bytes before each packet between a caller and its relay: RFC 8656, section 12.4
RTCP_SHARE = 0.05
BYTES_PER_SAMPLE = 2
REPLY_RATE = 24_000  # samples a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bits a second of one call, on average over the call, as the edge's network sees it.

    Args:
        packet_bytes: a packet of sound with all that is around it
        up, down: from the caller and to the caller
        relayed: of a call through TURN, all that passes the relay, in and out
        to_cloud, from_cloud: speech and replies between edge and replicas, as samples
    """

    packet_bytes: float
    up: float
    down: float
    relayed: float
    to_cloud: float
    from_cloud: float


def packet_bytes(settings: TrafficSettings) -> float:
    """A packet of sound on the wire."""
    payload = settings.opus_bits_per_sec / 8 / PACKETS_PER_SEC
    return payload + RTP + RTP_EXTENSION + SRTP_TAG + UDP + (IPV6 if settings.ipv6 else IPV4)


def traffic(settings: PlanSettings) -> Traffic:
    """Of one call."""
    cycle_sec = settings.cycle_sec
    speaking, replying = settings.calls.speech.mean / cycle_sec, settings.calls.reply.mean / cycle_sec
    size = packet_bytes(settings.traffic)
    stream = size * 8 * PACKETS_PER_SEC * (1 + RTCP_SHARE)
    up = stream * (speaking if settings.traffic.speaking_share_only else 1.0)
    told = 1 - settings.calls.private_share
    return Traffic(
        packet_bytes=size,
        up=up,
        down=stream,
        relayed=(up + stream) * (2 + TURN_CHANNEL / size),
        to_cloud=told * speaking * settings.traffic.cloud_samples_per_sec * BYTES_PER_SAMPLE * 8,
        from_cloud=told * replying * REPLY_RATE * BYTES_PER_SAMPLE * 8,
    )
