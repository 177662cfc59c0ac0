"""One reply of the router: asked of several contenders, told by one at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from routing.decision import Decision
from routing.errors import BackendError
from routing.ledger import Ledger
from routing.race import Race
from routing.record import Ending, Outcome, Switch
from routing.seat import Seat
from routing.settings import RoutingSettings
from routing.telling import Telling
from routing.track import Fault, Silent, Stalled, Track, why
from routing.turns import Heard, Placement, ReplyEnd, ReplyEvent, Turn

type Tracks = Mapping[str, Track]


class Sequel(NamedTuple):
    """Who could go on with a reply, saying ``script``; with an answer of their own where that is None."""

    names: list[str]
    script: str | None


class Attempt:
    """Asks, listens to all, and lets one speak at a time; it never waits, and whoever holds it gives it the time.

    Before `commit` only the user's words are told. `next` then tells the reply, event by event: who may speak is for
    the `Race` to say, and one who fails or falls silent is followed by another, who goes on where it stopped.

    Args:
        writer: the name of the one whose understanding of the user's words counts
        is_spoken: the question is what was fed, so words are to be expected
        decide: what the policy makes of the tracks and of the user's words
        open_script: opens a seat whose contender says just this
    """

    def __init__(
        self,
        turn: Turn,
        seats: Mapping[str, Seat],
        *,
        writer: str | None,
        is_spoken: bool,
        settings: RoutingSettings,
        now: float,
        decide: Callable[[Tracks, str], Decision],
        open_script: Callable[[str, str], Seat],
    ) -> None:
        self.wakes_at = math.inf  # when `next` should be called again, if nothing moves before
        self.is_over = False
        self.decision: Decision | None = None
        self.asked_at = now
        self.committed_at: float | None = None
        self._turn = turn
        self._seats = seats
        self._writer = writer
        self._is_spoken = is_spoken
        self._settings = settings
        self._decide = decide
        self._open_script = open_script
        self._heard: Heard | None = None
        self._tracks = {name: seat.ask(is_wanted=self._races(seat)) for name, seat in seats.items() if not seat.fault}
        self._running = dict(self._tracks)  # those who may come to speak
        self._race: Race | None = None
        self._script: str | None = None  # what those who run are to say, where they go on for somebody
        self._speaker: Track | None = None
        self._before: Track | None = None  # who spoke before
        self._spent: set[str] = set()  # who had their chance to go on, so that two who fail do not take turns for ever
        self._stand_in: Track | None = None  # asked because the speaker has fallen silent
        self._was_prepared = False  # once in a reply is enough
        self._telling = Telling(turn)
        self._ledger = Ledger(self._tracks.values())
        self._fault: Fault | None = None

    def _races(self, seat: Seat) -> bool:
        """Whether the policy may want its answer, and not only the words that it writes down."""
        if self._settings.policy != "cloud" or seat.contender.traits.is_remote:
            return True
        return not any(other.contender.traits.is_remote for other in self._seats.values())

    # -- the turn's end ------------------------------------------------------------------------------------------------

    def commit(self, now: float) -> None:
        """The turn is over: decide now, unless the user's words are still to come."""
        self.committed_at = now
        self._begin_race(now)

    def _begin_race(self, now: float) -> bool:
        assert self.committed_at is not None
        if self._is_waiting_for_words(now, self._settings.words_patience_sec):
            return False
        self.decision = self._decide(self._tracks, self._heard.text if self._heard else "")
        self._race = Race.by(self.decision.choice, list(self._running), now=self.committed_at)
        return True

    # -- what the user said --------------------------------------------------------------------------------------------

    def _is_waiting_for_words(self, now: float, patience_sec: float) -> bool:
        due = self._is_spoken and self._heard is None
        track = self._tracks.get(self._writer or "")
        if not due or not track or not (track.has_words_to_come or track.heard):
            return False
        until = self.committed_at + patience_sec if self.committed_at is not None else math.inf
        return self._is_before(until, now)

    def _take_heard(self, now: float) -> Heard | None:
        if self._heard:
            return None
        track = self._understands(now)
        if not track:
            return None
        self._heard = track.heard
        if self._heard and not self._heard.text:
            if self._speaker:
                return None  # too late to find that nobody had said a word
            self._leave_to(track, now)
        return self._heard

    def _understands(self, now: float) -> Track | None:
        """Whose words count: the writer's, and where it has none, anybody's."""
        writer = self._tracks.get(self._writer or "")
        if writer and writer.heard:
            return writer
        if self._is_waiting_for_words(now, self._settings.words_patience_sec):
            return None
        return next((track for track in self._tracks.values() if track.heard), None)

    def _leave_to(self, track: Track, now: float) -> None:
        """Nobody said a word: there is nothing to answer."""
        for other in self._running.values():
            if other is not track:
                other.close()
        self._running = {track.name: track}
        if self._race:
            self._race = Race.staggered([track.name], every_sec=0.0, now=now)

    # -- telling -------------------------------------------------------------------------------------------------------

    def next(self, now: float) -> ReplyEvent | None:
        """The next event to tell; None where there is none until something moves, or until ``wakes_at``.

        Raises:
            BackendError: nobody can answer, or nobody can go on.
        """
        self.wakes_at = math.inf
        if heard := self._take_heard(now):
            return heard
        if self.committed_at is None or (not self._race and not self._begin_race(now)):
            return None
        return self._tell(now) if self._speaker else self._find_speaker(now)

    def _is_before(self, moment: float, now: float) -> bool:
        """Whether there is time until then; if so, `next` is called again when it is over."""
        if now < moment:
            self.wakes_at = min(self.wakes_at, moment)
        return now < moment

    def _find_speaker(self, now: float) -> ReplyEvent | None:
        assert self._race
        while not self._race.is_lost:
            tracks = [self._runner(name) for name in self._race.allowed(now)]
            out = [track for track in tracks if self._is_out(track, now)]
            if not out:
                return self._first_ready(tracks, now)
            for track in out:
                self._race.drop(track.name)
        return self._tell_remains() or self._give_up()

    def _tell_remains(self) -> ReplyEvent | None:
        """Nobody is left: half an answer is better than none."""
        remains = next((track for track in self._running.values() if track.first_at is not None), None)
        return self._give_floor(remains) if remains else None

    def _first_ready(self, tracks: list[Track], now: float) -> ReplyEvent | None:
        assert self._race
        is_alone = self._race.is_walkover  # nobody could do better: its words need not wait for their sound
        if ready := next((track for track in tracks if track.is_ready or (is_alone and track.has_begun)), None):
            return self._give_floor(ready)
        self._is_before(self._race.next_moment(now), now)
        return None

    def _runner(self, name: str) -> Track:
        """Its track; whoever was not asked yet, or only for the user's words, is asked now."""
        if name not in self._running:
            self._running[name] = self._ask(name, self._script)
        track = self._running[name]
        track.want()
        return track

    def _ask(self, name: str, script: str | None) -> Track:
        if script is not None:
            track = self._open_script(name, script).ask(is_wanted=True)
        else:
            track = self._tracks[name] = self._seats[name].ask(is_wanted=True)
        self._ledger.note_asked(track)
        return track

    def _is_out(self, track: Track, now: float) -> bool:
        assert self._race
        if track.is_ready:
            return False
        patience_sec = self._settings.longest_patience_sec
        since = max(self._race.began_at, track.wanted_at or track.asked_at)
        if not track.fault and not self._is_before(since + patience_sec, now):
            track.fail(Silent(f"expected {track.name} to answer within {patience_sec:g} s"))
        self._fault = track.fault or self._fault
        return track.fault is not None

    def _give_up(self) -> ReplyEvent:
        self._end("failed")
        if isinstance(self._fault, BackendError):
            raise self._fault
        raise BackendError(str(self._fault or "there is nobody to answer"))

    def _end(self, ended: Ending) -> None:
        self.is_over = True
        self._ledger.ended = ended

    # -- who speaks ----------------------------------------------------------------------------------------------------

    def _give_floor(self, track: Track) -> Placement:
        assert self.decision
        reason = self._note_switch(track)
        for other in self._running.values():
            if other is not track:
                self._dismiss(other)
        track.commit()
        self._speaker = track
        self._ledger.note_speaker(track)
        return Placement(track.name, reason, self.decision.choice.predicted_sec)

    def _note_switch(self, track: Track) -> str:
        """Write down that it speaks instead of somebody else, if so; the reason why it does."""
        assert self.decision
        if self._heard and not self._heard.text:
            return "nobody said a word"
        choice = self.decision.choice
        instead_of = self._before.name if self._before else choice.first
        if track.name == instead_of:
            return choice.reason
        reason = _why_not(self._before or self._running.get(instead_of))
        told_sec = self._telling.sound_sec
        self._ledger.note_switch(Switch(backend=track.name, instead_of=instead_of, told_sec=told_sec, why=reason))
        return f"{choice.reason}; {instead_of}: {reason}"

    def _dismiss(self, track: Track) -> None:
        if track is self._tracks.get(self._writer or "") and self._is_spoken and not self._heard and not track.fault:
            track.rest()  # its words are still wanted
        else:
            track.close()

    # -- while one speaks ----------------------------------------------------------------------------------------------

    def _tell(self, now: float) -> ReplyEvent | None:
        assert self._speaker
        if self._speaker.is_at_end and self._is_waiting_for_words(now, self._settings.longest_patience_sec):
            return None
        event = self._speaker.take()
        if event is None:
            return self._bridge(self._speaker, now)
        if isinstance(event, ReplyEnd):
            self._end("told")
        self._send_stand_in_away()
        return self._telling.tell(event, now) or self._tell(now)

    def _bridge(self, speaker: Track, now: float) -> ReplyEvent | None:
        """Nothing came from the speaker: wait for it, or let somebody go on."""
        if not speaker.fault:
            if self._is_waited_for(speaker, now):
                return None
            speaker.fail(Stalled(f"expected {speaker.name} to go on, nothing came for {now - speaker.moved_at:.1f} s"))
        return self._hand_over(speaker, now)

    def _is_waited_for(self, speaker: Track, now: float) -> bool:
        """For a moment after all that was told has been played; for longer where nobody could go on.

        In that moment somebody gets ready, so that the silence is no longer than the patience with it.
        """
        silent_from = max(self._telling.plays_until, speaker.moved_at)
        sequel = self._sequel(speaker)
        if not self._telling.sound_sec or not sequel.names:
            return self._is_before(silent_from + self._settings.longest_patience_sec, now)
        if not self._is_before(silent_from, now) and not self._was_prepared:
            self._was_prepared = True
            self._stand_in = self._ask(sequel.names[0], sequel.script)
        return self._is_before(silent_from + self._settings.stall_patience_sec, now)

    def _send_stand_in_away(self) -> None:
        if self._stand_in:
            self._stand_in.close()
            self._stand_in = None

    def _sequel(self, speaker: Track) -> Sequel:
        """Who could go on: with the words that are known and were not heard, or else with an answer of their own."""
        spent = self._spent | {speaker.name}
        others = [seat for seat in self._seats.values() if seat.name not in spent and not seat.fault]
        rest = self._telling.unspoken()
        if rest and (readers := [seat.name for seat in others if seat.contender.traits.scripts]):
            return Sequel(readers, rest)
        if self._telling.has_only_begun:
            return Sequel([seat.name for seat in others], None)
        return Sequel([], rest or None)

    def _hand_over(self, speaker: Track, now: float) -> ReplyEvent | None:
        """Let others go on. Where all that is known was heard, the reply ends there."""
        names, script = self._sequel(speaker)
        if not names and not script and not self._telling.has_only_begun:
            self._end("told")
            return ReplyEnd()
        self._fault = speaker.fault
        self._before, self._speaker = speaker, None
        self._spent.add(speaker.name)
        self._script = script
        self._telling.go_on(script)
        self._running = {self._stand_in.name: self._stand_in} if self._stand_in else {}
        self._stand_in = None
        self._race = Race.staggered(names, every_sec=self._settings.stall_patience_sec, now=now)
        return self._find_speaker(now)

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Nothing is told any more."""
        self._ledger.close()

    def outcome(self) -> Outcome:
        """What came of a turn that was committed, once it is closed."""
        assert self.committed_at is not None
        first_at = self._telling.first_at
        first_sound_sec = None if first_at is None else first_at - self.committed_at
        return self._ledger.outcome(opened=self._seats, first_sound_sec=first_sound_sec)


def _why_not(track: Track | None) -> str:
    """Why it does not speak."""
    if track is None:
        return "not asked"
    return why(track.fault) if track.fault else "too late"
