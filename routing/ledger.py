"""What each contender did for a turn, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable

from routing.record import Ending, Outcome, Switch, Waste
from routing.track import Track


class Ledger:
    """Everyone who was asked, who spoke, and how it ended."""

    def __init__(self, tracks: Iterable[Track]) -> None:
        self.ended: Ending = "dropped"
        self._asked = list(tracks)
        self._spoke: list[Track] = []
        self._switches: list[Switch] = []

    def note_asked(self, track: Track) -> None:
        self._asked.append(track)

    def note_speaker(self, track: Track) -> None:
        """It speaks now; unless it comes to its end, it was cut."""
        self._spoke.append(track)
        self.ended = "cut"

    def note_switch(self, switch: Switch) -> None:
        self._switches.append(switch)

    def close(self) -> None:
        """Nobody is wanted any more."""
        for track in self._asked:
            track.close()

    def outcome(self, *, opened: Iterable[str], first_sound_sec: float | None) -> Outcome:
        """What came of it, once it is closed."""
        arrivals = self._arrivals()
        return Outcome(
            backend=self._spoke[0].name if self._spoke else None,
            first_sound_sec=first_sound_sec,
            ended=self.ended,
            opened=tuple(opened),
            arrivals=arrivals,
            abandoned_sec=self._abandoned_sec(arrivals),
            switches=tuple(self._switches),
            waste=self._waste(),
        )

    @property
    def _wanted(self) -> list[Track]:
        """Each who was asked for an answer; where somebody was asked twice, the first time comes last and counts."""
        return [track for track in reversed(self._asked) if track.was_wanted]

    def _arrivals(self) -> dict[str, float | None]:
        return {track.name: track.response_sec for track in self._wanted}

    def _abandoned_sec(self, arrivals: dict[str, float | None]) -> dict[str, float]:
        """How long each was waited for that did not fail and had not come."""
        waited = {track.name: track.work_sec for track in self._wanted if not track.fault}
        return {name: seconds for name, seconds in waited.items() if arrivals[name] is None}

    def _waste(self) -> dict[str, Waste]:
        waste: dict[str, Waste] = {}
        for track in self._wanted:
            if track not in self._spoke:
                before = waste.get(track.name, Waste())
                waste[track.name] = Waste(
                    work_sec=before.work_sec + track.work_sec, sound_sec=before.sound_sec + track.sound_sec
                )
        return waste
