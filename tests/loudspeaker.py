"""What a client has played of the audio it received, counted as an application would."""

from __future__ import annotations

from dataclasses import dataclass

PCM_BYTES_PER_SEC = 48_000  # 16 bit samples at 24 kHz


@dataclass(frozen=True, slots=True)
class Cut:
    """Where an answer was cut off: the fields of `conversation.item.truncate`."""

    item_id: str
    audio_end_ms: int


class Loudspeaker:
    """Plays one item after the other, each from the moment its first sound arrives. ``now`` is in seconds."""

    def __init__(self) -> None:
        self._item_id = ""
        self._begun = 0.0
        self._length_sec = 0.0

    def play(self, item_id: str, sound: bytes, *, now: float) -> None:
        if item_id != self._item_id:
            self._begun = now + self.remaining_sec(now)
            self._item_id, self._length_sec = item_id, 0.0
        self._length_sec += len(sound) / PCM_BYTES_PER_SEC

    def remaining_sec(self, now: float) -> float:
        return max(0.0, self._begun + self._length_sec - now)

    def stop(self, *, now: float) -> Cut | None:
        """Fall silent. None when nothing was playing."""
        if self.remaining_sec(now) == 0.0:
            return None
        cut = Cut(self._item_id, audio_end_ms=max(0, round(1000 * (now - self._begun))))
        self._length_sec = 0.0
        return cut
