"""One cell, event by event: calls come, turns are asked and answered, replicas and edges come, go and die.

Everything is decided here by the functions that decide in life, or by a plain copy of them: `deployments.autoscaling`
for replicas, Kubernetes' rule for edges, consistent hashing for the replica of a session, and the device where the
cloud is full or late. A turn's time begins in the pause after the speech, where answers are begun on trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import ceil

import numpy as np

from deployments.autoscaling import ScalingState, decide
from deployments.plan.agenda import Agenda
from deployments.plan.day import Burst, Incident, share_at
from deployments.plan.distribution import exponential, uniform
from deployments.plan.gateways import Gateway, Horizontal, roomiest
from deployments.plan.replicas import Fleet, Replica
from deployments.plan.settings import PlanSettings
from deployments.plan.tally import STRETCHES, Tally

PLAYED_AT_ONCE_SEC = 60.0  # between two tellings of progress
ROUNDING_SEC = 1e-6

type Progress = Callable[[float], None]


@dataclass(slots=True, eq=False)
class Session:
    """A call. ``key`` is its place on the ring of replicas."""

    key: float
    gateway: Gateway
    turns_left: int
    turn: Turn | None = None


@dataclass(slots=True, eq=False)
class Turn:
    """One turn, from the pause after its speech.

    Args:
        asked_at: that pause
        decided_at: when it is over for certain, and may be answered aloud
        reply_sec: seconds of sound that are still to come
        ends_at, made_at: when its last sound is played, and when a replica has made it
        has_sounded: its first sound was heard
        silent_since: a replica died while it spoke
    """

    session: Session
    asked_at: float
    decided_at: float
    reply_sec: float
    replica: Replica | None = None
    ends_at: float = 0.0
    made_at: float = 0.0
    is_over: bool = False
    has_sounded: bool = False
    silent_since: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Begun:
    """A reply that a replica has begun ``at`` a moment, and how soon there will be sound of it."""

    turn: Turn
    replica: Replica
    at: float
    first_sound_at: float

    @property
    def sounds_at(self) -> float:
        """When it can be heard: not before it is certain that the turn is over."""
        return max(self.first_sound_at, self.turn.decided_at)


def sources(seed: int) -> Iterator[np.random.Generator]:
    """Sources of chance, each its own: more of one changes nothing of the others."""
    sequence = np.random.SeedSequence(seed)
    while True:
        yield np.random.default_rng(sequence.spawn(1)[0])


class Cell:
    """Plays one cell.

    Args:
        sessions: at the busiest time of its day
        seed: the same one gives the same day
        shift_hours: by how much its day is ahead of the plan's
    """

    def __init__(self, settings: PlanSettings, *, sessions: float, seed: int, shift_hours: float = 0.0) -> None:
        self._settings = settings
        self._sessions = sessions
        self._shift_hours = shift_hours
        self._agenda = Agenda()
        self._tally = Tally()
        self._stretch = self._tally.stretches[0]
        self._fleet = Fleet(settings.replicas, seed=seed)
        self._gateways: list[Gateway] = []
        self._horizontal = Horizontal(settings.gateways.scaling, settings.gateways.places)
        self._state = ScalingState()
        self._target = 0
        self._surge = 0
        self._in_progress = 0
        self._draw(seed)

    def _draw(self, seed: int) -> None:
        settings, chances = self._settings, sources(seed)
        self._fastest = settings.calls_per_sec(self._sessions) + sum(map(self._burst_rate, settings.day.bursts))
        self._gap = exponential(1 / self._fastest, next(chances))
        self._thinning = uniform(next(chances))
        self._key = uniform(next(chances))
        self._turn_counts = next(chances)
        self._think = settings.calls.think.draws(next(chances))
        self._speech = settings.calls.speech.draws(next(chances))
        self._reply = settings.calls.reply.draws(next(chances))
        self._private = uniform(next(chances))
        self._endpoint_wait = settings.turn_taking.endpoint_wait.draws(next(chances))
        self._network = settings.turn_taking.network.draws(next(chances))
        self._device_answer = settings.gateways.device_answer.draws(next(chances))
        self._cold_start = settings.replicas.cold_start.draws(next(chances))
        self._pod_start = settings.gateways.start.draws(next(chances))
        self._lifetime = exponential(3600.0, next(chances))
        self._victims = next(chances)
        self._phase = next(chances)

    # -- the day -------------------------------------------------------------------------------------------------------

    def play(self, progress: Progress = lambda _: None) -> Tally:
        """The whole day. ``progress`` is told the share of it that is over, now and then."""
        day, agenda = self._settings.day, self._agenda
        self._begin_day()
        while agenda.now < day.played_sec:
            agenda.play(min(agenda.now + PLAYED_AT_ONCE_SEC, day.played_sec))
            progress(agenda.now / day.played_sec)
        self._tally.seconds = day.played_sec
        return self._tally

    def _begin_day(self) -> None:
        """As many of everything as the hour has, in the middle of their calls."""
        settings, agenda = self._settings, self._agenda
        share = share_at(settings.day.hours, self._hour())
        self._open_first(round(share * self._sessions))
        for at, handler, what in self._appointments():
            agenda.after(at, handler, what)
        agenda.after(next(self._gap), self._call)
        agenda.after(0.0, self._look)
        agenda.after(0.0, self._look_at_gateways)

    def _appointments(self) -> list[tuple[float, Callable[..., None], object]]:
        day = self._settings.day
        incidents = [(self._second_of(incident.hour), self._strike, incident) for incident in day.incidents]
        return [*incidents, *((self._second_of(hour), self._upgrade, None) for hour in day.upgrades)]

    def _open_first(self, sessions: int) -> None:
        settings = self._settings
        scaling, gateways = settings.autoscaling, settings.gateways
        slots = sessions * settings.slot_sec / settings.cycle_sec * (1 - settings.calls.private_share)
        self._target = scaling.bounded(ceil(slots / (scaling.occupancy * settings.replicas.slots)))
        for _ in range(self._target):
            self._open_replica(self._fleet.ask())
        target = gateways.scaling.target_share * gateways.places
        for _ in range(max(gateways.scaling.minimum_pods, ceil(sessions / target))):
            self._open_gateway(self._new_gateway())
        for phase in self._phase.random(sessions):
            self._admit(first_sec=phase * settings.cycle_sec)

    def _hour(self) -> float:
        return self._settings.day.hour_at(self._agenda.now) + self._shift_hours

    def _second_of(self, hour: float) -> float:
        return self._settings.day.second_of((hour - self._shift_hours) % 24)

    def _rate(self) -> float:
        """Calls a second that begin at this time of the day."""
        day = self._settings.day
        rate = share_at(day.hours, self._hour()) * self._settings.calls_per_sec(self._sessions)
        for burst in day.bursts:
            if 0 <= self._agenda.now - self._second_of(burst.hour) < burst.within_sec:
                rate += self._burst_rate(burst)
        return rate

    def _burst_rate(self, burst: Burst) -> float:
        return burst.share * self._sessions / burst.within_sec

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _call(self, _: None) -> None:
        """Somebody calls, at the highest rate of the day; thinned to the rate of the hour (Lewis and Shedler, 1979)."""
        self._agenda.after(next(self._gap), self._call)
        if next(self._thinning) * self._fastest < self._rate():
            self._admit(first_sec=next(self._think))

    def _admit(self, *, first_sec: float) -> None:
        self._tally.counts.calls += 1
        gateway = roomiest(self._gateways)
        if gateway is None:
            self._tally.counts.calls_refused += 1
            return
        turns = int(self._turn_counts.geometric(1 / self._settings.calls.turns))
        session = Session(next(self._key), gateway, turns)
        gateway.sessions[session] = None
        self._in_progress += 1
        self._expect_turn(session, first_sec)

    def _expect_turn(self, session: Session, in_sec: float) -> None:
        pause_sec = self._settings.turn_taking.pause_sec
        self._agenda.after(in_sec + next(self._speech) + pause_sec, self._ask, session)

    def _hang_up(self, session: Session) -> None:
        del session.gateway.sessions[session]
        self._in_progress -= 1
        self._let_go(session.gateway)

    # -- turns ---------------------------------------------------------------------------------------------------------

    def _ask(self, session: Session) -> None:
        """The caller pauses: answers are begun."""
        now = self._agenda.now
        if session.gateway.is_gone or session.turn is not None:
            return  # the call broke off meanwhile, and has begun anew
        head_start_sec = max(0.0, next(self._endpoint_wait) - self._settings.turn_taking.pause_sec)
        turn = Turn(session, now, now + head_start_sec, next(self._reply))
        session.turn = turn
        self._tally.counts.asked += 1
        self._stretch.asked += 1
        if next(self._private) < self._settings.calls.private_share:
            self._tally.counts.private += 1
            self._answer_here(turn)
        else:
            self._seek(turn)

    def _seek(self, turn: Turn) -> None:
        """A place at the replica that remembers the session, or at one of the next."""
        if turn.is_over:
            return
        for replica in self._fleet.candidates(turn.session.key):
            if replica.can_take():
                self._take(turn, replica)
                return
            if replica.can_keep(self._settings.autoscaling.turn_sec):
                self._wait(turn, replica)
                return
            replica.refused += 1
        self._answer_here(turn)

    def _wait(self, turn: Turn, replica: Replica) -> None:
        turn.replica = replica
        replica.waiting.append(turn)
        patience_sec = turn.decided_at + self._settings.turn_taking.hedge_sec - self._agenda.now
        self._agenda.after(max(0.0, patience_sec), self._lose_patience, turn)

    def _lose_patience(self, turn: Turn) -> None:
        """The turn still waits for a slot, and is overdue: the device speaks, where it can."""
        if turn.replica is None or turn not in turn.replica.waiting:
            return
        if turn.session.gateway.device_replies < self._settings.gateways.device_replies:
            turn.replica.waiting.remove(turn)
            self._answer_here(turn)

    def _take(self, turn: Turn, replica: Replica) -> None:
        """The replica begins the reply."""
        now, settings = self._agenda.now, self._settings
        replica.turns[turn] = None
        turn.replica = replica
        first_sec = settings.replicas.first_sound_sec(len(replica.turns))
        replica.note_first_sound(now - turn.asked_at + first_sec if turn.silent_since is None else first_sec)
        begun = Begun(turn, replica, now, now + first_sec)
        overtaken_at = turn.decided_at + settings.turn_taking.hedge_sec
        if begun.sounds_at > overtaken_at and not turn.has_sounded and self._device_is_free(turn):
            self._agenda.after(max(0.0, overtaken_at - now), self._overtake, begun)
        else:
            self._go_on(begun)

    def _go_on(self, begun: Begun) -> None:
        """The replica's reply is the one that is heard."""
        turn, sounds_at = begun.turn, begun.sounds_at
        self._note_sound(turn, sounds_at)
        self._tally.queue_waits.append(begun.at - turn.asked_at)
        turn.ends_at = sounds_at + turn.reply_sec
        turn.made_at = max(begun.first_sound_at, turn.ends_at - self._settings.replicas.ahead_sec)
        self._agenda.after(max(0.0, turn.made_at - self._agenda.now), self._made, turn)

    def _overtake(self, begun: Begun) -> None:
        """The cloud is too late: the device speaks, if it still can, and the cloud's reply is cancelled."""
        turn = begun.turn
        if turn.is_over or turn.has_sounded or turn.replica is not begun.replica or not self._is_being_made(turn):
            return
        if not self._device_is_free(turn):
            self._go_on(begun)
            return
        self._free(turn)
        self._answer_here(turn)

    def _made(self, turn: Turn) -> None:
        """The last sound of a reply is made, and the slot is free; it is played a little longer."""
        if turn.is_over or not self._is_being_made(turn) or self._agenda.now < turn.made_at - ROUNDING_SEC:
            return  # another replica goes on with it, or will
        self._free(turn)
        self._tally.counts.cloud += 1
        self._stretch.cloud += 1
        self._end(turn)

    def _is_being_made(self, turn: Turn) -> bool:
        """Rather than wait for a slot: where a replica died under it, what was planned with that one still comes."""
        return turn.replica is not None and turn in turn.replica.turns

    def _free(self, turn: Turn) -> None:
        replica = turn.replica
        assert replica is not None
        turn.replica = None
        del replica.turns[turn]
        while replica.waiting and replica.can_take():
            self._take(replica.waiting.popleft(), replica)
        if replica.is_leaving and not replica.turns:
            self._fleet.end(replica)

    def _answer_here(self, turn: Turn) -> None:
        """By the device; where that has its hands full, the caller is told so."""
        now, gateway = self._agenda.now, turn.session.gateway
        turn.replica = None
        if not self._device_is_free(turn):
            self._tally.counts.refused += 1
            self._stretch.refused += 1
            turn.ends_at = now
            self._end(turn)
            return
        gateway.device_replies += 1
        begun_at = turn.asked_at if turn.silent_since is None else now  # it answers beside the cloud, held
        sounds_at = max(begun_at + next(self._device_answer), turn.decided_at, now)
        self._note_sound(turn, sounds_at)
        self._tally.counts.device += 1
        self._stretch.device += 1
        turn.ends_at = sounds_at + turn.reply_sec
        self._agenda.after(turn.ends_at - now, self._said_here, gateway)
        self._end(turn)

    def _said_here(self, gateway: Gateway) -> None:
        gateway.device_replies -= 1

    def _device_is_free(self, turn: Turn) -> bool:
        return turn.session.gateway.device_replies < self._settings.gateways.device_replies

    def _note_sound(self, turn: Turn, at: float) -> None:
        if turn.silent_since is not None:
            self._tally.gaps.append(at - turn.silent_since)
            turn.silent_since = None
        if turn.has_sounded:
            return
        turn.has_sounded = True
        taking = self._settings.turn_taking
        rest_sec = taking.pause_sec + taking.rest_sec + next(self._network)
        self._tally.first_audio.append(at - turn.decided_at)
        self._stretch.voice_to_voice.append(at - turn.asked_at + rest_sec)

    def _end(self, turn: Turn) -> None:
        """What became of it is counted. Then there is the next turn, or the end of the call."""
        session, now = turn.session, self._agenda.now
        turn.is_over = True
        session.turn = None
        session.turns_left -= 1
        left_sec = max(0.0, turn.ends_at - now)
        if session.turns_left <= 0:
            self._agenda.after(left_sec, self._leave, session)
            return
        self._hand_over(session)
        self._expect_turn(session, left_sec + next(self._think))

    def _leave(self, session: Session) -> None:
        if session in session.gateway.sessions:
            self._hang_up(session)

    def _hand_over(self, session: Session) -> None:
        """From an edge that drains to another one, between two turns."""
        old = session.gateway
        if old.is_open or old.is_starting or session not in old.sessions:
            return
        new = roomiest(self._gateways)
        if new is not None:
            del old.sessions[session]
            new.sessions[session] = None
            session.gateway = new
            self._tally.counts.handed_over += 1
            self._let_go(old)

    # -- replicas ------------------------------------------------------------------------------------------------------

    def _look(self, _: None) -> None:
        """What the autoscaler of Serve does, with the project's policy."""
        settings, now = self._settings, self._agenda.now
        self._agenda.after(settings.autoscaling.report_every_sec, self._look)
        ready = self._fleet.ready()
        self._note_look(ready)
        replicas = min(len(ready), self._target)
        decision = decide(
            [replica.load(settings.autoscaling.turn_sec) for replica in ready],
            replicas=replicas,
            starting=self._target - replicas,
            refused=sum(replica.refused for replica in ready),
            state=self._state,
            settings=settings.autoscaling,
            now=now,
        )
        self._state, self._target = decision.state, decision.target
        self._reconcile()

    def _note_look(self, ready: list[Replica]) -> None:
        tally = self._tally
        share = self._agenda.now / self._settings.day.played_sec
        self._stretch = stretch = tally.stretches[min(STRETCHES - 1, int(share * STRETCHES))]
        stretch.looks += 1
        stretch.sessions += self._in_progress
        stretch.occupied += sum(len(replica.turns) for replica in self._fleet.replicas)
        stretch.waiting += sum(len(replica.waiting) for replica in self._fleet.replicas)
        stretch.wanted += self._target
        stretch.ready += len(ready)
        stretch.alive += len(self._fleet.replicas)
        stretch.gateways += len(self._gateways)
        tally.peak_alive = max(tally.peak_alive, len(self._fleet.replicas))
        tally.peak_gateways = max(tally.peak_gateways, len(self._gateways))

    def _reconcile(self) -> None:
        """As many as are wanted, and those beside them that an upgrade needs."""
        missing = self._target + self._surge - len(self._fleet.ready()) - len(self._fleet.starting())
        for _ in range(missing):
            self._start_replica()
        for _ in range(-missing):
            self._drain_replica(self._fleet.to_leave())

    def _start_replica(self) -> None:
        self._agenda.after(next(self._cold_start), self._open_replica, self._fleet.ask())

    def _open_replica(self, replica: Replica) -> None:
        if replica.is_gone:
            return
        self._fleet.open(replica)
        lifetime_sec = next(self._lifetime) * self._settings.replicas.failed_after_hours
        self._agenda.after(lifetime_sec, self._replica_dies, replica)
        self._replace_one(replica)

    def _drain_replica(self, replica: Replica) -> None:
        if not replica.is_ready:
            self._fleet.end(replica)
            return
        self._fleet.close(replica)
        waiting, replica.waiting = list(replica.waiting), type(replica.waiting)()
        for turn in waiting:
            self._seek(turn)
        if not replica.turns:
            self._fleet.end(replica)

    def _replica_dies(self, replica: Replica) -> None:
        if replica.is_gone:
            return
        now = self._agenda.now
        self._tally.counts.replicas_failed += 1
        self._stretch.failures += 1
        self._fleet.end(replica)
        for turn in [*replica.turns, *replica.waiting]:
            turn.replica = None
            self._tally.counts.retried += 1
            if turn.has_sounded and now < turn.ends_at:
                turn.reply_sec = min(turn.reply_sec, turn.ends_at - now)
                turn.silent_since = now
            self._agenda.after(self._settings.replicas.notice_sec, self._seek, turn)
        replica.turns.clear()
        replica.waiting.clear()
        self._reconcile()

    def _strike(self, incident: Incident) -> None:
        """Several die at once."""
        for replica in self._some(self._fleet.ready(), incident.replicas):
            self._replica_dies(replica)
        for gateway in self._some([gateway for gateway in self._gateways if gateway.is_open], incident.gateways):
            self._gateway_dies(gateway)

    def _some[Member](self, members: list[Member], share: float) -> list[Member]:
        chosen = self._victims.permutation(len(members))[: ceil(share * len(members))]
        return [members[index] for index in chosen]

    # -- a new version -------------------------------------------------------------------------------------------------

    def _upgrade(self, _: None) -> None:
        self._fleet.generation += 1
        self._roll()

    def _roll(self) -> None:
        """New ones beside some of the old; each old one leaves when a new one is ready."""
        old = self._old_ones()
        self._surge = min(len(old), ceil(self._settings.replicas.surge_share * len(old)))
        self._reconcile()

    def _replace_one(self, replica: Replica) -> None:
        if not self._surge or replica.generation < self._fleet.generation:
            return
        self._surge -= 1
        if old := self._old_ones():
            self._drain_replica(old[0])
        if not self._surge:
            self._roll()

    def _old_ones(self) -> list[Replica]:
        return [replica for replica in self._fleet.ready() if replica.generation < self._fleet.generation]

    # -- edges ---------------------------------------------------------------------------------------------------------

    def _look_at_gateways(self, _: None) -> None:
        """What the HorizontalPodAutoscaler does."""
        self._agenda.after(self._settings.gateways.scaling.every_sec, self._look_at_gateways)
        staying = [gateway for gateway in self._gateways if gateway.is_open or gateway.is_starting]
        wanted = self._horizontal.pods(self._in_progress, len(staying), self._agenda.now)
        for start_sec in islice(self._pod_start, max(0, wanted - len(staying))):
            self._agenda.after(start_sec, self._open_gateway, self._new_gateway())
        for gateway in sorted(staying, key=lambda one: len(one.sessions))[: max(0, len(staying) - wanted)]:
            gateway.is_open = gateway.is_starting = False
            self._let_go(gateway)

    def _new_gateway(self) -> Gateway:
        gateway = Gateway(self._settings.gateways.places)
        self._gateways.append(gateway)
        return gateway

    def _open_gateway(self, gateway: Gateway) -> None:
        if not gateway.is_starting:
            return  # it was not needed after all
        gateway.is_starting, gateway.is_open = False, True
        lifetime_sec = next(self._lifetime) * self._settings.gateways.failed_after_hours
        self._agenda.after(lifetime_sec, self._gateway_dies, gateway)

    def _let_go(self, gateway: Gateway) -> None:
        """An edge that drains ends when its last caller has left."""
        if not (gateway.is_open or gateway.is_starting or gateway.is_gone or gateway.sessions):
            gateway.is_gone = True
            self._gateways.remove(gateway)

    def _gateway_dies(self, gateway: Gateway) -> None:
        """Its turns are lost, and its callers call again."""
        if gateway.is_gone:
            return
        self._tally.counts.gateways_failed += 1
        self._stretch.failures += 1
        gateway.is_gone, gateway.is_open = True, False
        self._gateways.remove(gateway)
        sessions, gateway.sessions = list(gateway.sessions), {}
        self._in_progress -= len(sessions)
        for session in sessions:
            if session.turn is not None:
                self._lose(session.turn)
            self._agenda.after(self._settings.gateways.back_sec, self._call_back, session)

    def _lose(self, turn: Turn) -> None:
        turn.is_over = True
        self._tally.counts.lost += 1
        self._stretch.lost += 1
        if turn.replica is not None and turn in turn.replica.turns:
            self._free(turn)
        elif turn.replica is not None:
            turn.replica.waiting.remove(turn)

    def _call_back(self, session: Session) -> None:
        self._tally.counts.calls_back += 1
        gateway = roomiest(self._gateways)
        if gateway is None:
            self._tally.counts.calls_refused += 1
            return
        again = Session(session.key, gateway, max(1, session.turns_left))
        gateway.sessions[again] = None
        self._in_progress += 1
        self._expect_turn(again, next(self._think))
