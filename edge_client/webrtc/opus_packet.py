"""What an Opus packet says of itself, without decoding it.

See section 3 of `RFC 6716 <https://www.rfc-editor.org/rfc/rfc6716>`_.
"""

from __future__ import annotations

RTP_RATE = 48_000  # of the timestamps of Opus, whatever the rate of the sound
LONGEST_PACKET_TICKS = round(0.120 * RTP_RATE)
LARGEST_PACKET = 8_000  # bytes: 120 ms at the highest bit rate there is
DTX_BYTES = 2  # a packet this small says: silence from here on, and no packets until it ends

_FRAME_MS = (
    *(10.0, 20.0, 40.0, 60.0) * 3,  # SILK: narrow, medium and wide band
    *(10.0, 20.0) * 2,  # both: super-wide and full band
    *(2.5, 5.0, 10.0, 20.0) * 4,  # CELT: narrow to full band
)
_FRAME_TICKS = tuple(round(length * RTP_RATE / 1000) for length in _FRAME_MS)
_COUNT_FOLLOWS = 3  # the code for any number of frames, which the second byte tells


def ticks_in(payload: bytes) -> int:
    """How much sound a packet holds, at `RTP_RATE`; 0 for what cannot be Opus."""
    size = len(payload)
    if not 0 < size <= LARGEST_PACKET:
        return 0
    first = payload[0]
    code = first & 3
    if code == 0:
        return _FRAME_TICKS[first >> 3]
    count = 2 if code != _COUNT_FOLLOWS else payload[1] & 63 if size > 1 else 0
    ticks = count * _FRAME_TICKS[first >> 3]
    return ticks if ticks <= LONGEST_PACKET_TICKS else 0
