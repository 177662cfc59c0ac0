"""What is known of one backend: how soon it answers, how often it fails, and whether it may be asked now."""

from __future__ import annotations

from routing.load import Load
from routing.policy import Prospect, Traits


class Outlook:
    """Fed with everything that is seen of a backend; every method takes ``now``, in seconds of a monotonic clock."""

    def __init__(self, name: str, traits: Traits) -> None:
        self.name = name
        self.traits = traits

    def note_round_trip(self, seconds: float, now: float) -> None:
        """A heartbeat came back."""

    def note_load(self, load: Load, now: float) -> None:
        """The backend told how full it is."""

    def note_silence(self, now: float) -> None:
        """A heartbeat did not come back in time, or the connection is gone."""

    def note_response(self, speech_sec: float, seconds: float, now: float) -> None:
        """A question of this length had its first sound after so many seconds, counted from the asking."""

    def note_unanswered(self, speech_sec: float, waited_sec: float, now: float) -> None:
        """Nobody waited longer than this, for another had answered or the caller went on: it would have taken more."""

    def note_failure(self, now: float, *, retry_after_sec: float | None = None) -> None:
        """It could not be reached, refused or broke off; a full one says when to come back."""

    def note_success(self, now: float) -> None:
        """A reply came to its end."""

    def note_throughput(self, audio_sec: float, seconds: float, now: float) -> None:
        """So much sound came in so long, after the first of it."""

    def prospect(
        self, speech_sec: float, now: float, *, asked_ago_sec: float = 0.0, is_ready: bool = False
    ) -> Prospect:
        """What it promises for a turn of this length."""
        raise NotImplementedError

    def wants_probe(self, now: float) -> bool:
        """Whether a cheap heartbeat would tell something: nothing was heard for a while, or a circuit may close."""
        raise NotImplementedError
