"""What is expected of a backend, and whether it comes true as often as it was promised."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from routing.latency import Distribution
from routing.load import Load
from routing.outlook import LOAD_HALF_LIFE_SEC, PRIOR, Outlook
from routing.policy import Traits

CLOUD = Traits(is_remote=True)


def cloud(**options: float) -> Outlook:
    return Outlook("cloud", CLOUD, **options)  # type: ignore[arg-type]  # half_life_sec only


def answered(
    outlook: Outlook, *, seconds: float, times: int = 20, start: float = 0.0, speech_sec: float = 2.0
) -> float:
    """So many turns, one every ten seconds; when the last of them was."""
    for index in range(times):
        outlook.note_response(speech_sec, seconds, start + 10.0 * index)
        outlook.note_success(start + 10.0 * index)
    return start + 10.0 * (times - 1)


def median_sec(outlook: Outlook, now: float, speech_sec: float = 2.0) -> float:
    return outlook.prospect(speech_sec, now).response.median


# -- what is learned -------------------------------------------------------------------------------------------------


def test_before_anything_was_seen_the_prior_speaks_and_the_network_is_added() -> None:
    outlook = cloud()
    assert outlook.prospect(2.0, 0.0).response == PRIOR
    outlook.note_round_trip(0.1, 0.0)
    outlook.note_load(Load(slots=4, in_use=4, waiting=2, queue_wait_sec=0.5), 0.0)
    prospect = outlook.prospect(2.0, 0.0)
    assert prospect.response.values == pytest.approx(PRIOR.shifted(0.6).values)
    assert (prospect.rtt_sec, prospect.queue_wait_sec, prospect.evidence) == (0.1, 0.5, 0.0)


def test_what_is_seen_takes_the_priors_place_and_is_forgotten_again() -> None:
    outlook = Outlook("cloud", CLOUD, prior=Distribution.exactly(3.0), half_life_sec=60.0)
    now = answered(outlook, seconds=0.2)
    assert median_sec(outlook, now) < 0.8
    assert outlook.prospect(2.0, now).evidence == pytest.approx(8.25, abs=0.5)
    assert median_sec(outlook, now + 3600.0) == pytest.approx(3.0, abs=0.1)


def test_a_longer_question_is_expected_to_take_longer() -> None:
    outlook, dice = cloud(), random.Random(1)
    for index in range(40):
        speech_sec = dice.uniform(0.5, 8.0)
        outlook.note_response(speech_sec, 0.2 + 0.1 * speech_sec, 10.0 * index)
    assert median_sec(outlook, 400.0, speech_sec=1.0) == pytest.approx(0.3, abs=0.05)
    assert median_sec(outlook, 400.0, speech_sec=7.0) == pytest.approx(0.9, abs=0.07)


def test_a_network_that_became_slower_is_expected_to_be_so_before_a_turn_was_lost_to_it() -> None:
    outlook = cloud()
    now = answered(outlook, seconds=0.3)
    for beat in range(10):
        outlook.note_round_trip(0.05, now + beat)
    before = outlook.prospect(2.0, now + 10)
    for beat in range(2):
        outlook.note_round_trip(0.45, now + 10 + beat)
    after = outlook.prospect(2.0, now + 12)
    assert after.response.median - before.response.median == pytest.approx(0.4, abs=0.08)
    assert after.jitter_sec > before.jitter_sec


def test_one_late_heartbeat_is_jitter_and_not_a_slower_network() -> None:
    outlook = cloud()
    for beat, seconds in enumerate((0.05, 0.05, 0.9, 0.05)):
        outlook.note_round_trip(seconds, float(beat))
    prospect = outlook.prospect(2.0, 4.0)
    assert prospect.rtt_sec == 0.05
    assert prospect.jitter_sec > 0.1


def test_a_heartbeat_under_way_for_long_is_as_late_as_that_already() -> None:
    outlook = cloud()
    outlook.note_round_trip(0.05, 0.0)
    outlook.note_heartbeat(1.0)
    assert outlook.prospect(2.0, 1.7).rtt_sec == pytest.approx(0.7)
    outlook.note_round_trip(0.8, 1.8)
    assert outlook.prospect(2.0, 5.0).rtt_sec < 0.8


def test_a_queue_is_worked_off_while_nothing_is_told_of_it() -> None:
    outlook = cloud()
    outlook.note_load(Load(slots=1, in_use=1, waiting=3, queue_wait_sec=2.0), 0.0)
    assert outlook.prospect(2.0, LOAD_HALF_LIFE_SEC).queue_wait_sec == pytest.approx(1.0)


def test_a_queue_that_comes_and_goes_makes_everything_less_certain() -> None:
    calm, restless = cloud(), cloud()
    now = max(answered(outlook, seconds=0.3) for outlook in (calm, restless))
    for report in range(10):
        now += 2.0
        calm.note_load(Load(slots=4, in_use=4, queue_wait_sec=0.5), now)
        restless.note_load(Load(slots=4, in_use=4, queue_wait_sec=1.0 * (report % 2)), now)
    spreads = [
        response.values[5] - response.values[1]
        for response in (outlook.prospect(2.0, now).response for outlook in (calm, restless))
    ]
    assert spreads[1] > spreads[0]


def test_one_that_always_loses_is_not_taken_to_be_quick() -> None:
    """It was quick three times; since then it takes 2 s, but nobody waits for more than 0.6 s."""
    waited, left_out = cloud(), cloud()
    now = 0.0
    for index in range(60):
        now = 10.0 * index
        if index < 3:
            waited.note_response(2.0, 0.25, now)
            left_out.note_response(2.0, 0.25, now)
        else:
            waited.note_unanswered(2.0, 0.6, now)
    assert median_sec(left_out, now) < 0.3
    assert median_sec(waited, now) > 0.6


def test_who_was_not_waited_for_at_all_told_nothing() -> None:
    outlook = cloud()
    now = answered(outlook, seconds=0.5)
    before = outlook.prospect(2.0, now)
    for _ in range(20):
        outlook.note_unanswered(2.0, 0.01, now)
    assert outlook.prospect(2.0, now) == before


# -- failures --------------------------------------------------------------------------------------------------------


def test_failures_are_expected_of_those_who_failed() -> None:
    outlook = cloud()
    answered(outlook, seconds=0.3, times=5)
    before = outlook.prospect(2.0, 40.0).failure
    outlook.note_failure(40.0)
    after = outlook.prospect(2.0, 40.0).failure
    assert before < 0.01
    assert 0.1 < after < 0.5
    assert outlook.prospect(2.0, 400.0).failure < after


def test_an_answer_that_is_here_cannot_fail_any_more() -> None:
    assert cloud().prospect(2.0, 0.0, asked_ago_sec=0.3, is_ready=True).failure == 0.0


def test_a_stream_slower_than_a_voice_is_as_good_as_broken_off() -> None:
    outlook = cloud()
    outlook.note_throughput(4.0, 1.0, 0.0)
    assert outlook.prospect(2.0, 0.0).failure < 0.02
    outlook.note_throughput(2.0, 8.0, 60.0)
    assert outlook.prospect(2.0, 60.0).failure > 0.3


def test_silence_means_not_connected_until_something_is_heard() -> None:
    outlook = cloud()
    outlook.note_round_trip(0.05, 0.0)
    outlook.note_silence(3.0)
    assert outlook.prospect(2.0, 3.0).why_not == "not connected"
    outlook.note_round_trip(0.05, 4.0)
    assert outlook.prospect(2.0, 4.0).why_not is None


def test_a_broken_circuit_and_a_full_house_are_told_apart() -> None:
    outlook = cloud()
    outlook.note_failure(0.0, retry_after_sec=2.0)
    assert outlook.prospect(2.0, 1.0).why_not == "at capacity"
    assert outlook.prospect(2.0, 1.0).failure < 0.02
    for _ in range(3):
        outlook.note_failure(5.0)
    assert outlook.prospect(2.0, 5.0).why_not == "circuit open"
    outlook.note_asked(6.0)
    outlook.note_unanswered(2.0, 0.3, 6.5)
    assert outlook.prospect(2.0, 6.5).why_not is None


def test_a_quiet_cloud_is_probed_and_the_device_never() -> None:
    outlook = cloud()
    assert outlook.wants_probe(0.0)
    outlook.note_round_trip(0.05, 0.0)
    assert [outlook.wants_probe(now) for now in (1.0, 5.0)] == [False, True]
    outlook.note_silence(6.0)
    outlook.note_load(Load(slots=1, in_use=0), 7.0)
    assert not outlook.wants_probe(8.0)
    assert not Outlook("device", Traits(is_remote=False)).wants_probe(100.0)


# -- calibration -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """Turns that come as they like, over a network with heartbeats each second."""

    drifts: bool = False  # the backend becomes slower and quicker
    is_heavy: bool = False  # one answer in a hundred takes six times as long
    by_length: bool = False
    jams: bool = False  # the network is 400 ms slower now and then

    def turns(self, outlook: Outlook, seed: int) -> Iterator[tuple[Distribution, float]]:
        """For each turn what was predicted, and how long it took."""
        dice = random.Random(seed)
        now, level, jam = 0.0, 0.25, 0.0
        for _ in range(300):
            for _ in range(1 + int(dice.expovariate(1 / 10.0))):
                now += 1.0
                jam = self._jam(jam, dice)
                outlook.note_round_trip(self._round_trip(jam, dice), now)
            level *= (0.25 / level) ** 0.05 * (dice.lognormvariate(0.0, 0.06) if self.drifts else 1.0)
            speech_sec = dice.lognormvariate(1.0, 0.6)
            late = dice.paretovariate(2.5) if self.is_heavy else dice.lognormvariate(0.0, 0.3)
            seconds = self._round_trip(jam, dice) + (level + (0.05 * speech_sec if self.by_length else 0.0)) * late
            yield outlook.prospect(speech_sec, now).response, seconds
            now += seconds
            outlook.note_response(speech_sec, seconds, now)

    def _jam(self, jam: float, dice: random.Random) -> float:
        if self.jams and dice.random() < (0.05 if jam else 0.01):
            return 0.0 if jam else 0.4
        return jam

    def _round_trip(self, jam: float, dice: random.Random) -> float:
        return 0.06 + jam + dice.expovariate(1 / (0.01 + 0.2 * jam))


WORLDS = {
    "steady": World(),
    "drifting": World(drifts=True),
    "heavy-tailed": World(is_heavy=True),
    "dependent on length": World(by_length=True),
    "over a network that jams": World(jams=True),
    "all at once": World(drifts=True, is_heavy=True, by_length=True, jams=True),
}


@pytest.mark.parametrize("world", WORLDS.values(), ids=list(WORLDS))
def test_the_predicted_p90_is_kept_by_nine_in_ten(world: World) -> None:
    turns = list(world.turns(cloud(), seed=1))
    kept = [seconds <= predicted.quantile(0.9) for predicted, seconds in turns]
    halves = [seconds <= predicted.median for predicted, seconds in turns]
    assert 0.85 <= sum(kept) / len(kept) <= 0.95
    assert 0.4 <= sum(halves) / len(halves) <= 0.6
