"""What is known of one backend: how soon it answers, how often it fails, and whether it may be asked now.

A response is taken apart into what is known the moment it is asked for and what is learned from responses::

    response  =  round trip + queue wait   as of now, from heartbeats
              +  a + b · speech_sec        regression: a longer question may take longer to answer
              +  z · spread                quantiles of z; the spread is relative to a + b · speech_sec, plus jitter

The last outcomes are kept, older ones count less, and to these both are fitted. What is uncertain is all in ``z``:
whatever else is estimated badly, z makes up for it, and so the quantiles cover what they promise
(as in conformal prediction with normalised residuals: Lei et al., "Distribution-free predictive inference for
regression", 2018). A network that became slower is seen in the heartbeats, before any turn was lost to it.

Whoever is no longer waited for because another was quicker is known to have needed longer than that
(`note_unanswered`). Left out, these would be missing among the slow ones only, and a backend that always loses would
be judged by the few times that it won.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import median
from typing import NamedTuple

from routing.breaker import Breaker, BreakerState
from routing.latency import LEVELS, DecayedMean, DecayedSum, Distribution, Sighting, faded, quantiles
from routing.load import Load
from routing.policy import Prospect, Traits

PRIOR = Distribution((0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.0, 2.0))
"""Of a backend nothing is known of, round trip and queue not counted: usual for speech models that stream."""

HALF_LIFE_SEC = 180.0  # of what is learned from turns: a caller says something every ten seconds or so
PRIOR_TURNS = 1.0  # the prior counts as much as so many turns; with more of them, too much is kept of what is promised
FAILURE_HALF_LIFE_SEC = 60.0
PRIOR_FAILURE = 0.01
JITTER_HALF_LIFE_SEC = 5.0
LOAD_HALF_LIFE_SEC = 20.0  # of a queue that was told of: after that long, half of it may have been worked off
THROUGHPUT_HALF_LIFE_SEC = 30.0
QUIET_SEC = 5.0  # so long without a sign of life, and a heartbeat is worth sending

OUTCOMES = 64  # that are kept, of each backend

_LEAST_SPREAD_SEC = 0.001
_LEAST_RELATIVE = 0.02
_CLIP = 4.0  # spreads
_BEYOND = 0.5  # what takes longer than anybody waited takes half as long again as usual, or a spread more
_RIDGE = 4.0  # turns that are a second longer or shorter than usual, before half of a slope is believed


@dataclass(frozen=True, slots=True)
class NetworkState:
    """What heartbeats and loads told until some moment."""

    rtt_sec: float = 0.0
    jitter_sec: float = 0.0
    queue_wait_sec: float = 0.0
    queue_unrest_sec: float = 0.0  # by how much the queue changes from one report to the next

    @property
    def unrest_sec(self) -> float:
        return self.jitter_sec + self.queue_unrest_sec

    @property
    def wait_sec(self) -> float:
        return self.rtt_sec + self.queue_wait_sec


class Network:
    """Round trip, jitter and queue wait, and what they were a moment ago."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=3)
        self._past: deque[tuple[float, NetworkState]] = deque(maxlen=64)
        self._jitter = DecayedMean(JITTER_HALF_LIFE_SEC)
        self._queue_unrest = DecayedMean(JITTER_HALF_LIFE_SEC)
        self._load = Load(slots=1, in_use=0)
        self._load_at = 0.0
        self._sent_at: float | None = None

    def note_sent(self, now: float) -> None:
        if self._sent_at is None:
            self._sent_at = now

    def note_round_trip(self, seconds: float, now: float) -> None:
        if self._recent:
            self._jitter.add(abs(seconds - self._rtt_sec), now)
        self._sent_at = None
        self._recent.append(seconds)
        self._past.append((now, self.at(now)))

    def note_load(self, load: Load, now: float) -> None:
        self._queue_unrest.add(abs(load.queue_wait_sec - self._load.queue_wait_sec), now)
        self._load, self._load_at = load, now
        self._past.append((now, self.at(now)))

    def at(self, now: float) -> NetworkState:
        """As of now. A heartbeat that is under way for longer than usual has had a long round trip already."""
        overdue = now - self._sent_at if self._sent_at is not None else 0.0
        kept = faded(now - self._load_at, LOAD_HALF_LIFE_SEC)
        return NetworkState(
            rtt_sec=max(self._rtt_sec, overdue),
            jitter_sec=self._jitter.value,
            queue_wait_sec=self._load.queue_wait_sec * kept,
            queue_unrest_sec=self._queue_unrest.value,
        )

    def before(self, moment: float) -> NetworkState:
        """As it was known at a moment that has passed."""
        for at, state in reversed(self._past):
            if at <= moment:
                return state
        return self._past[0][1] if self._past else NetworkState()

    @property
    def _rtt_sec(self) -> float:
        """Between the last and the median of the last three: one late heartbeat may be jitter, two are slowness."""
        return (median(self._recent) + self._recent[-1]) / 2 if self._recent else 0.0


class Outcome(NamedTuple):
    """What became of one question: how long the backend itself took, or how long it was waited for in vain."""

    at: float
    speech_sec: float
    seconds: float  # round trip and queue taken off
    unrest_sec: float
    is_bound: bool


@dataclass(frozen=True, slots=True)
class Fit:
    """The backend itself takes ``at_mean`` for a question of ``mean_speech_sec``, ``slope`` more for each second more.

    It is off by ``relative`` of that, on average. ``off`` has the quantiles of how far off, at `LEVELS`, in spreads.
    """

    mean_speech_sec: float
    at_mean_sec: float
    slope: float
    relative: float
    off: tuple[float, ...] = (0.0,) * len(LEVELS)

    def expected(self, speech_sec: float) -> float:
        """Seconds, never negative."""
        return max(self.at_mean_sec + self.slope * (speech_sec - self.mean_speech_sec), 0.0)

    def spread(self, speech_sec: float, unrest_sec: float) -> float:
        """Seconds that it is off: in proportion to what is expected, and more as network and queue are uneven."""
        return self.relative * self.expected(speech_sec) + unrest_sec + _LEAST_SPREAD_SEC


class Service:
    """How long the backend itself takes, fitted anew to the last outcomes whenever there is another one."""

    def __init__(self, half_life_sec: float, typical_sec: float) -> None:
        self._half_life_sec = half_life_sec
        self._outcomes: deque[Outcome] = deque(maxlen=OUTCOMES)
        self._evidence = DecayedSum(half_life_sec)
        self.fit = Fit(0.0, typical_sec, 0.0, 1.0)

    def learn(self, outcome: Outcome, evidence: float) -> None:
        self._outcomes.append(outcome)
        self._evidence.add(evidence, outcome.at)
        weights = [faded(outcome.at - past.at, self._half_life_sec) for past in self._outcomes]
        line = _line(self._outcomes, weights, self.fit if len(self._outcomes) > 3 else None)
        self.fit = replace(line, off=_off(line, self._outcomes, weights))

    def evidence(self, now: float) -> float:
        """How many outcomes it stands on, older ones counting less."""
        return self._evidence.at(now)


def _line(outcomes: Iterable[Outcome], weights: Iterable[float], before: Fit | None) -> Fit:
    """Weighted least squares, the slope held back while there is little to tell it from (ridge regression).

    What is far from the fit ``before`` moves it no more than what is `_CLIP` spreads away. Somebody who was waited for
    in vain took at least what was expected.
    """
    total = x_sum = y_sum = xx_sum = xy_sum = 0.0
    points = [(o.speech_sec, _likely(o, before), w) for o, w in zip(outcomes, weights, strict=True)]
    for x, y, w in points:
        total, x_sum, y_sum = total + w, x_sum + w * x, y_sum + w * y
        xx_sum, xy_sum = xx_sum + w * x * x, xy_sum + w * x * y
    x_mean, y_mean = x_sum / total, y_sum / total
    slope = max(xy_sum - total * x_mean * y_mean, 0.0) / (max(xx_sum - total * x_mean * x_mean, 0.0) + _RIDGE)
    line = Fit(x_mean, y_mean, slope, 1.0)
    off = sum(w * abs(y - line.expected(x)) for x, y, w in points) / total
    return replace(line, relative=max(off / max(y_mean, _LEAST_SPREAD_SEC), _LEAST_RELATIVE))


def _likely(outcome: Outcome, before: Fit | None) -> float:
    """What it took, as far as it is believed; the slower it would have been than expected, the more."""
    if before is None:
        return outcome.seconds
    expected = before.expected(outcome.speech_sec)
    reach = _CLIP * before.spread(outcome.speech_sec, outcome.unrest_sec)
    least = expected if outcome.is_bound else expected - reach
    return min(max(outcome.seconds, least), expected + reach)


def _off(line: Fit, outcomes: Iterable[Outcome], weights: Iterable[float]) -> tuple[float, ...]:
    return quantiles(
        [
            Sighting(
                (o.seconds - line.expected(o.speech_sec)) / line.spread(o.speech_sec, o.unrest_sec), o.is_bound, weight
            )
            for o, weight in zip(outcomes, weights, strict=True)
        ],
        beyond=max(1.0, _BEYOND / line.relative),
    )


class Outlook:
    """Fed with everything that is seen of a backend; every method takes ``now``, in seconds of a monotonic clock.

    Args:
        prior: the response of a backend of which no turn was seen yet, network and queue not counted; what is seen
            takes its place, and it comes back where nothing was seen for long
        half_life_sec: half of what is known of its responses is younger than this
        breaker: when it is left alone
    """

    def __init__(
        self,
        name: str,
        traits: Traits,
        *,
        prior: Distribution = PRIOR,
        half_life_sec: float = HALF_LIFE_SEC,
        breaker: Breaker | None = None,
    ) -> None:
        self.name = name
        self.traits = traits
        self._prior = prior
        self._breaker = breaker or Breaker()
        self._network = Network()
        self._service = Service(half_life_sec, prior.median)
        self._failures = DecayedSum(FAILURE_HALF_LIFE_SEC)
        self._answers = DecayedSum(FAILURE_HALF_LIFE_SEC)
        self._pace = DecayedMean(THROUGHPUT_HALF_LIFE_SEC, start=1.0)  # seconds of sound a second, at most 1
        self._is_silent = False
        self._heard_at: float | None = None

    def note_heartbeat(self, now: float) -> None:
        """A heartbeat was sent. While it is under way, the network is at least that slow."""
        self._network.note_sent(now)

    def note_round_trip(self, seconds: float, now: float) -> None:
        """A heartbeat came back."""
        self._network.note_round_trip(seconds, now)
        self._breaker.note_heartbeat(now)
        self._note_alive(now)

    def note_load(self, load: Load, now: float) -> None:
        """The backend told how full it is."""
        self._network.note_load(load, now)
        self._note_alive(now)

    def note_silence(self, now: float) -> None:  # noqa: ARG002 - as the others
        """A heartbeat did not come back in time, or the connection is gone."""
        self._is_silent = True
        self._breaker.note_silence()

    def note_asked(self, now: float) -> None:
        """A turn was sent there. While its circuit is half open, it is the one that tells whether it may close."""
        self._breaker.note_asked(now)

    def note_response(self, speech_sec: float, seconds: float, now: float) -> None:
        """A question of this length had its first sound after so many seconds, counted from the asking."""
        self._learn(speech_sec, seconds, now, evidence=1.0, is_bound=False)
        self._note_alive(now)

    def note_unanswered(self, speech_sec: float, waited_sec: float, now: float) -> None:
        """Nobody waited longer than this, for another had answered or the caller went on: it would have taken more.

        It counts against the prior as far as that had promised an answer by then: nothing, if nobody waited.
        """
        self._breaker.note_let_go()
        network = self._network.before(now - waited_sec)
        told = self._prior.shifted(network.wait_sec).probability_within(waited_sec)
        if told > 0.0:
            self._learn(speech_sec, waited_sec, now, evidence=told, is_bound=True)

    def note_let_go(self, now: float) -> None:  # noqa: ARG002 - as the others
        """A turn that was sent there ended without telling whether it would have been answered well."""
        self._breaker.note_let_go()

    def note_failure(self, now: float, *, retry_after_sec: float | None = None) -> None:
        """It could not be reached, refused or broke off; a full one says when to come back."""
        if retry_after_sec is not None:
            self._breaker.hold(retry_after_sec, now)
            return
        self._breaker.note_failure(now)
        self._failures.add(1.0, now)

    def note_success(self, now: float) -> None:
        """A reply came to its end."""
        self._breaker.note_success()
        self._answers.add(1.0, now)
        self._note_alive(now)

    def note_throughput(self, audio_sec: float, seconds: float, now: float) -> None:
        """So much sound came in so long, after the first of it."""
        if audio_sec > 0.0:
            self._pace.add(min(audio_sec / max(seconds, 1e-3), 1.0), now, audio_sec)

    def prospect(
        self, speech_sec: float, now: float, *, asked_ago_sec: float = 0.0, is_ready: bool = False
    ) -> Prospect:
        """What it promises for a turn of this length.

        ``response`` is counted from the asking and ``failure`` is that of any turn, both as if nothing had been waited
        yet; whoever decides takes ``asked_ago_sec`` into account.
        """
        network = self._network.at(now)
        return Prospect(
            name=self.name,
            traits=self.traits,
            response=self._response(speech_sec, network, now),
            failure=0.0 if is_ready else self._failure(now),
            rtt_sec=network.rtt_sec,
            jitter_sec=network.jitter_sec,
            queue_wait_sec=network.queue_wait_sec,
            asked_ago_sec=asked_ago_sec,
            is_ready=is_ready,
            why_not=self.why_not(now),
            evidence=self._service.evidence(now),
        )

    def why_not(self, now: float) -> str | None:
        """Why it must not be asked now; None where it may."""
        return "not connected" if self._is_silent else self._breaker.why_not(now)

    def circuit(self, now: float) -> BreakerState:
        """Whether turns go there; open too while its heartbeats are missed."""
        return "open" if self._is_silent else self._breaker.state(now)

    def wants_probe(self, now: float) -> bool:
        """Whether a cheap heartbeat would tell something: nothing was heard for a while, or a circuit may close."""
        if not self.traits.is_remote:
            return False
        is_quiet = self._heard_at is None or now - self._heard_at >= QUIET_SEC
        return is_quiet or self._is_silent or self._breaker.state(now) == "half open"

    def _response(self, speech_sec: float, network: NetworkState, now: float) -> Distribution:
        """What was learned and the prior, each as far as there is evidence."""
        fit = self._service.fit
        turns = self._service.evidence(now)
        share = turns / (turns + PRIOR_TURNS)
        rest = 1.0 - share
        spread = share * fit.spread(speech_sec, network.unrest_sec)
        centre = share * fit.expected(speech_sec) + network.wait_sec
        pairs = zip(fit.off, self._prior.values, strict=True)
        return Distribution(tuple([max(centre + spread * off + rest * prior, 0.0) for off, prior in pairs]))

    def _learn(self, speech_sec: float, seconds: float, now: float, *, evidence: float, is_bound: bool) -> None:
        network = self._network.before(now - seconds)
        took = seconds - network.wait_sec
        self._service.learn(Outcome(now, speech_sec, took, network.unrest_sec, is_bound), evidence)

    def _failure(self, now: float) -> float:
        """Failed turns among all, and of a stream that is too slow for a voice what it is too slow by."""
        failures = self._failures.at(now) + PRIOR_FAILURE
        failed = failures / (failures + self._answers.at(now) + 1.0 - PRIOR_FAILURE)
        return 1.0 - (1.0 - failed) * self._pace.value

    def _note_alive(self, now: float) -> None:
        self._is_silent = False
        self._heard_at = now
