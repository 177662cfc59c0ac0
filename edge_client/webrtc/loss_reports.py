"""How much of what is sent gets lost, as the caller reports it.

The private names of aiortc used here are held by `tests/test_webrtc_loss_reports.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiortc import RTCRtpSender

HALF_LIFE_SEC = 5.0  # until a change counts by half
WHOLE = 256  # a report counts the lost part in so many


class LossEstimate:
    """The lost part of the packets, over the last seconds. Time is passed in."""

    def __init__(self) -> None:
        self.fraction = 0.0
        self._reported_at: float | None = None

    def report(self, fraction: float, now: float) -> None:
        """Such a part was lost since the last report."""
        elapsed = HALF_LIFE_SEC if self._reported_at is None else now - self._reported_at
        self._reported_at = now
        self.fraction += (1 - 0.5 ** (elapsed / HALF_LIFE_SEC)) * (fraction - self.fraction)


def on_loss_report(sender: RTCRtpSender, tell: Callable[[float], None]) -> None:
    """Call ``tell`` with the lost part, 0 to 1, at each report on what ``sender`` sends: about once a second."""
    handle = sender._handle_rtcp_packet  # noqa: SLF001

    async def handle_and_tell(packet: Any) -> None:
        await handle(packet)
        for report in getattr(packet, "reports", ()):
            if report.ssrc == sender._ssrc:  # noqa: SLF001
                tell(report.fraction_lost / WHOLE)

    sender._handle_rtcp_packet = handle_and_tell  # type: ignore[method-assign]  # noqa: SLF001
