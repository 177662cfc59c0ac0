"""The scheduler by itself, and under thousands of callers on a virtual clock."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from deployments.engine.cost_model import CostModel, work_of
from deployments.engine.scheduler import Scheduler
from deployments.engine.sequence import Modality, PrefillChunk, Sequence, StepPlan
from deployments.engine.settings import SchedulerSettings
from routing.errors import AtCapacity
from tests.engine_simulation import (
    AUDIO_RUN,
    FAST_MACHINE,
    FRAME_SEC,
    SLOW_MACHINE,
    TEXT_RUN,
    Crowd,
    SimulatedTurn,
    Simulation,
    idle_first_audio_sec,
    quantile,
)

UNHURRIED = SchedulerSettings(first_audio_target_sec=10.0)


def scheduler(settings: SchedulerSettings = UNHURRIED, cost: CostModel = SLOW_MACHINE) -> Scheduler:
    return Scheduler(settings, cost, frame_sec=FRAME_SEC, text_run=TEXT_RUN, audio_run=AUDIO_RUN)


def new(key: int = 1, *, at: float = 0.0, speech_sec: float = 4.0, released: bool = True) -> Sequence:
    return Sequence(
        key=key,
        slot=key,
        prompt_positions=round(speech_sec * 12.5) + 12,
        speech_sec=speech_sec,
        maximum_steps=1000,
        arrived_at=at,
        released=released,
    )


def speak(sequence: Sequence, *, ahead_sec: float, now: float) -> None:
    """Bring a reply to the middle of its first run of sound, with so much made and not yet played."""
    sequence.encoded, sequence.prefilled = True, sequence.prompt_positions
    sequence.steps, sequence.frames, sequence.modality = TEXT_RUN + 5, 5, Modality.AUDIO
    sequence.playing_since = now - (5 * FRAME_SEC - ahead_sec)


def speaking(decisions: Scheduler, *ahead_sec: float, now: float = 10.0) -> list[Sequence]:
    replies = []
    for key, ahead in enumerate(ahead_sec, start=100):
        reply = new(key)
        decisions.admit(reply, now)
        speak(reply, ahead_sec=ahead, now=now)
        replies.append(reply)
    return replies


# -- one step ------------------------------------------------------------------------------------------------------


def test_nothing_is_planned_for_nobody() -> None:
    decisions = scheduler()
    assert not decisions.plan(0.0)
    assert decisions.wake_at(0.0) is None


def test_a_new_reply_is_encoded_and_prefilled_in_one_step_and_then_decoded() -> None:
    decisions, reply = scheduler(), new()
    decisions.admit(reply, 0.0)
    plan = decisions.plan(0.0)
    assert (plan.encode, plan.decode) == ((reply,), ())
    assert [(chunk.start, chunk.length, chunk.is_last) for chunk in plan.prefill] == [(0, 62, True)]
    reply.encoded, reply.prefilled, reply.steps = True, 62, 1
    plan = decisions.plan(0.1)
    assert (plan.encode, plan.prefill, plan.decode) == ((), (), (reply,))


def test_a_long_prompt_is_prefilled_in_chunks() -> None:
    decisions, reply = scheduler(UNHURRIED.model_copy(update={"prefill_chunk": 128})), new(speech_sec=24.0)
    decisions.admit(reply, 0.0)
    chunks: list[PrefillChunk] = []
    while reply.has_prompt_left:
        (chunk,) = decisions.plan(0.0).prefill
        chunks.append(chunk)
        reply.encoded, reply.prefilled = True, reply.prefilled + chunk.length
    assert [chunk.length for chunk in chunks] == [128, 128, 56]
    assert [chunk.is_last for chunk in chunks] == [False, False, True]


def test_a_typed_turn_is_not_encoded() -> None:
    decisions, reply = scheduler(), new(speech_sec=0.0)
    decisions.admit(reply, 0.0)
    plan = decisions.plan(0.0)
    assert not plan.encode
    assert plan.prefill[0].length == 12


def test_those_who_speak_are_served_with_the_least_sound_first() -> None:
    decisions = scheduler()
    early, late, middle = speaking(decisions, 0.2, 0.9, 0.4)
    assert decisions.plan(10.0).decode == (early, middle, late)


def test_the_first_steps_of_a_new_reply_take_along_few_where_rows_are_dear() -> None:
    decisions = scheduler()
    replies = speaking(decisions, *(0.70 + 0.01 * row for row in range(8)))
    newcomer = new(at=10.0)
    decisions.admit(newcomer, 10.0)
    newcomer.encoded, newcomer.prefilled, newcomer.steps = True, newcomer.prompt_positions, 6
    newcomer.modality = Modality.AUDIO
    plan = decisions.plan(10.0)
    assert newcomer in plan.decode
    assert plan.decode[1:] == tuple(replies[: len(plan.decode) - 1])  # the most urgent of them
    own_sec = SLOW_MACHINE.predict(work_of(StepPlan(decode=(newcomer,))))
    assert own_sec < SLOW_MACHINE.predict(work_of(plan)) <= own_sec * UNHURRIED.first_stretch


def test_the_first_steps_of_a_new_reply_take_along_everybody_where_rows_are_cheap() -> None:
    decisions = scheduler(cost=FAST_MACHINE)
    speaking(decisions, *[0.7] * 8)
    newcomer = new(at=10.0)
    decisions.admit(newcomer, 10.0)
    newcomer.encoded, newcomer.prefilled, newcomer.steps = True, newcomer.prompt_positions, 6
    newcomer.modality = Modality.AUDIO
    assert len(decisions.plan(10.0).decode) == 9


def test_whose_sound_would_run_out_comes_along_with_a_new_reply() -> None:
    decisions = scheduler()
    short, long = speaking(decisions, 0.15, 0.7)
    newcomer = new(at=10.0)
    decisions.admit(newcomer, 10.0)
    plan = decisions.plan(10.0)
    assert short in plan.decode
    assert long not in plan.decode


def test_speech_is_encoded_only_when_all_have_sound_for_so_long() -> None:
    decisions = scheduler()
    (reply,) = speaking(decisions, 0.3)
    newcomer = new(at=10.0, speech_sec=40.0)  # a third of a second of work
    decisions.admit(newcomer, 10.0)
    plan = decisions.plan(10.0)
    assert (plan.encode, plan.decode) == ((), (reply,))
    speak(reply, ahead_sec=0.9, now=10.0)
    assert decisions.plan(10.0).encode == (newcomer,)


def test_a_speculative_reply_yields_to_a_released_one_until_it_is_released() -> None:
    decisions = scheduler()
    guess, sure = new(1, released=False), new(2, at=0.1)
    decisions.admit(guess, 0.0)
    decisions.admit(sure, 0.1)
    assert decisions.plan(0.1).encode == (sure,)
    guess.released = True
    assert decisions.plan(0.2).encode == (guess, sure)


def test_a_speculative_reply_alone_goes_at_once() -> None:
    decisions, guess = scheduler(), new(released=False)
    decisions.admit(guess, 0.0)
    assert decisions.plan(0.0).encode == (guess,)


def test_words_only_are_served_like_speech_once_they_go_on() -> None:
    decisions = scheduler()
    (reply,) = speaking(decisions, 0.5)
    writer = new()
    decisions.admit(writer, 10.0)
    writer.encoded, writer.prefilled, writer.steps = True, writer.prompt_positions, 40
    assert set(decisions.plan(10.0).decode) == {reply, writer}


# -- resting -------------------------------------------------------------------------------------------------------


def test_a_reply_far_ahead_rests_and_all_wake_together() -> None:
    decisions = scheduler()
    first, second = speaking(decisions, 0.95, 1.15)
    assert not decisions.plan(10.0)
    assert decisions.statistics().paced == 2
    wake_at = decisions.wake_at(10.0)
    assert wake_at == pytest.approx(10.45)  # half of what they may be ahead
    assert not decisions.plan(10.4)
    assert wake_at is not None
    assert decisions.plan(wake_at + 0.01).decode == (first, second)
    assert decisions.statistics().paced == 0


def test_a_held_reply_rests_on_all_that_it_made() -> None:
    decisions, guess = scheduler(), new(released=False)
    decisions.admit(guess, 0.0)
    speak(guess, ahead_sec=0.4, now=0.0)
    guess.playing_since, guess.frames, guess.steps = None, 12, 18
    assert not decisions.plan(5.0)
    assert decisions.wake_at(5.0) is None  # nothing happens before it is released
    guess.released, guess.playing_since = True, 6.0
    assert decisions.wake_at(6.0) == pytest.approx(6.46)


def test_a_limit_below_a_frame_still_lets_sound_be_made() -> None:
    simulation = Simulation(settings=SchedulerSettings(maximum_ahead_sec=0.01), cost=FAST_MACHINE)
    turn = SimulatedTurn(at=0.0)
    simulation.add(turn)
    simulation.run()
    assert turn.ended_at is not None
    assert turn.underruns == 0


# -- coming and going ----------------------------------------------------------------------------------------------


def test_more_turns_than_places_wait_and_the_earliest_is_next() -> None:
    decisions = scheduler(UNHURRIED.model_copy(update={"maximum_running": 1}))
    running, later, earlier, guess = new(1), new(2, at=2.0), new(3, at=1.0), new(4, at=0.5, released=False)
    for reply in (running, later, earlier, guess):
        decisions.admit(reply, 2.0)
    assert decisions.statistics().waiting == 3
    order: list[Sequence] = []
    for reply in (running, earlier, later, guess):
        order += decisions.plan(3.0).encode
        decisions.remove(reply)
    assert order == [running, earlier, later, guess]


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    decisions = scheduler(UNHURRIED.model_copy(update={"maximum_running": 2, "maximum_waiting": 1}))
    for key in range(3):
        decisions.admit(new(key), 0.0)
    with pytest.raises(AtCapacity, match="2 replies run and 1 wait") as refusal:
        decisions.admit(new(9), 0.0)
    assert 0.05 < refusal.value.retry_after_sec < 10.0
    assert decisions.statistics().refused == 1


def test_a_turn_that_would_wait_too_long_for_its_first_sound_is_refused() -> None:
    decisions = scheduler(SchedulerSettings(first_audio_target_sec=0.3))
    decisions.admit(new(1), 0.0)
    decisions.admit(new(2), 0.0)
    with pytest.raises(AtCapacity, match=r"first sound would come after 0\.\d+ s, and at most 0\.3 s") as refusal:
        decisions.admit(new(3), 0.0)
    assert 0.05 <= refusal.value.retry_after_sec < 1.0


def test_a_turn_that_would_make_others_stutter_is_refused() -> None:
    decisions = scheduler(UNHURRIED.model_copy(update={"step_budget_share": 0.5}))
    admitted = 0
    with pytest.raises(AtCapacity, match="would not be spoken without gaps"):
        for key in range(16):
            decisions.admit(new(key), 0.0)
            admitted += 1
    cycle = TEXT_RUN + AUDIO_RUN
    cost = cycle * SLOW_MACHINE.decode(admitted, admitted * 62, admitted * AUDIO_RUN / cycle)
    assert cost <= 0.5 * AUDIO_RUN * FRAME_SEC < cost + cycle * (SLOW_MACHINE.row_sec + SLOW_MACHINE.frame_row_sec)


def test_an_engine_with_nothing_to_do_refuses_nobody() -> None:
    decisions = scheduler(SchedulerSettings(first_audio_target_sec=0.01))
    decisions.admit(new(speech_sec=60.0), 0.0)
    assert decisions.plan(0.0).encode


def test_a_removed_reply_is_in_no_plan() -> None:
    decisions = scheduler()
    first, second = speaking(decisions, 0.3, 0.3)
    assert len(decisions.plan(10.0).decode) == 2
    decisions.remove(first)
    decisions.remove(first)
    assert decisions.plan(10.0).decode == (second,)
    assert decisions.statistics().running == 1


def test_a_machine_that_has_grown_slower_admits_fewer() -> None:
    decisions = scheduler(cost=FAST_MACHINE, settings=SchedulerSettings(first_audio_target_sec=0.1))
    (reply,) = speaking(decisions, 0.3)
    plan = StepPlan(decode=(reply,))
    decisions.admit(new(1), 10.0)
    for _ in range(2000):
        decisions.observe(plan, 4 * FAST_MACHINE.predict(work_of(plan)))
    with pytest.raises(AtCapacity):
        decisions.admit(new(2), 10.0)


# -- a few callers on a virtual clock ------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What a crowd saw."""

    simulation: Simulation

    @property
    def admitted(self) -> list[SimulatedTurn]:
        return [turn for turn in self.simulation.turns if turn.was_admitted]

    @property
    def underruns(self) -> int:
        return sum(turn.underruns for turn in self.admitted)

    @property
    def first_audio(self) -> list[tuple[float, float]]:
        """Seconds to the first sound and the same as a multiple of when idle, for turns that were over when asked."""
        cost = self.simulation.cost
        turns = [turn for turn in self.admitted if not turn.held_sec]
        waits = [(turn.first_audio_sec, idle_first_audio_sec(turn, cost)) for turn in turns]
        return [(wait, wait / idle) for wait, idle in waits if wait is not None]

    def check_promises(self) -> None:
        """Everybody who was admitted came to an end, and the others were told in the moment they asked."""
        assert all(turn.ended_at is not None for turn in self.admitted)
        assert all(turn.was_cancelled or turn.heard_from is not None for turn in self.admitted)
        assert all(turn.refused_at in (None, turn.at) for turn in self.simulation.turns)
        statistics = self.simulation.scheduler.statistics()
        assert (statistics.running, statistics.waiting, statistics.paced) == (0, 0, 0)
        assert statistics.admitted == len(self.admitted)
        assert statistics.admitted + statistics.refused == len(self.simulation.turns)


def test_alone_the_first_sound_takes_its_steps_and_nothing_else() -> None:
    simulation = Simulation(noise=0.0)
    turn = SimulatedTurn(at=1.0)
    simulation.add(turn)
    simulation.run()
    assert turn.first_audio_sec == pytest.approx(idle_first_audio_sec(turn, SLOW_MACHINE), rel=1e-3)
    assert simulation.scheduler.statistics().least_slack_sec == pytest.approx(FRAME_SEC, abs=0.03)


def test_a_minute_of_speech_makes_nobody_stutter() -> None:
    simulation = Simulation(settings=SchedulerSettings(first_audio_target_sec=3.0))
    speakers = [SimulatedTurn(at=0.2 * index, frames=150) for index in range(8)]
    long = SimulatedTurn(at=5.0, speech_sec=60.0)
    simulation.add(*speakers, long)
    simulation.run()
    assert sum(turn.underruns for turn in simulation.turns) == 0
    assert long.first_audio_sec is not None
    assert long.first_audio_sec < 3.0


def test_a_cancelled_reply_is_gone_with_the_step_that_runs() -> None:
    simulation = Simulation(keep_plans=True)
    cancelled, other = SimulatedTurn(at=0.0, cancelled_after_sec=1.0), SimulatedTurn(at=0.0)
    simulation.add(cancelled, other)
    simulation.run(until=1.0)
    simulation.plans.clear()
    simulation.run()
    assert cancelled.was_cancelled
    assert simulation.plans
    assert not any(cancelled.sequence in plan.decode for plan in simulation.plans[1:])


def test_words_only_and_words_before_sound_neither_starve_nor_make_others_starve() -> None:
    simulation = Simulation()
    speakers = [SimulatedTurn(at=0.3 * index, frames=96) for index in range(6)]
    silent = [
        SimulatedTurn(at=1.0, frames=0, tokens=100),
        SimulatedTurn(at=1.5, frames=40, tokens=60),
    ]
    simulation.add(*speakers, *silent)
    simulation.run()
    assert all(turn.ended_at is not None for turn in simulation.turns)
    assert sum(turn.underruns for turn in simulation.turns) == 0
    assert silent[0].ended_at is not None
    assert silent[0].ended_at - 1.0 < 100 * 0.0533 + 1.0  # as fast as speech, at least


def test_a_held_reply_is_heard_at_once_when_it_is_released() -> None:
    simulation = Simulation()
    turn = SimulatedTurn(at=0.0, held_sec=0.5)
    simulation.add(turn)
    simulation.run()
    assert turn.first_audio_sec == 0.0


def test_a_machine_slower_than_its_model_is_noticed_in_time() -> None:
    simulation = Simulation(slowness=1.3)
    crowd = Crowd(simulation, sessions=9, arrivals=60, thinking_sec=4.0)
    crowd.run()
    Outcome(simulation).check_promises()
    assert Outcome(simulation).underruns == 0


def test_sound_that_ran_out_is_counted_and_made_up_for() -> None:
    simulation = Simulation(settings=UNHURRIED, slowness=3.0)  # six at a time are slower than real time then
    speakers = [SimulatedTurn(at=0.0, frames=40) for _ in range(6)]
    simulation.add(*speakers)
    simulation.run()
    underruns = sum(turn.underruns for turn in speakers)
    assert underruns > 0
    assert simulation.scheduler.statistics().underruns == pytest.approx(underruns, abs=len(speakers))
    assert all(turn.ended_at is not None for turn in speakers)


# -- thousands of callers ------------------------------------------------------------------------------------------


def crowd(cost: CostModel, *, sessions: int, arrivals: int, thinking_sec: float, **settings: float) -> Outcome:
    simulation = Simulation(settings=SchedulerSettings(**settings), cost=cost)  # type: ignore[arg-type]
    Crowd(simulation, sessions=sessions, arrivals=arrivals, reply_sec=5.0, thinking_sec=thinking_sec).run()
    return Outcome(simulation)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_ten_thousand_turns_with_twelve_speaking() -> None:
    outcome = crowd(SLOW_MACHINE, sessions=12, arrivals=10_000, thinking_sec=3.0)
    outcome.check_promises()
    assert outcome.underruns == 0
    assert quantile((ratio for _, ratio in outcome.first_audio), 0.95) <= 2.0
    assert max(ratio for _, ratio in outcome.first_audio) < 8.0  # nobody starves
    assert outcome.simulation.scheduler.statistics().refused < 0.05 * 10_000


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("cost", [SLOW_MACHINE, FAST_MACHINE])
def test_a_newcomer_among_twelve_who_never_cease(cost: CostModel) -> None:
    simulation = Simulation(cost=replace(cost, context_sec=0.0))  # or their replies would outgrow the machine
    speakers = [SimulatedTurn(at=0.5 * index, frames=5000) for index in range(12)]
    newcomers = [SimulatedTurn(at=10.0 + 3.7 * index, speech_sec=1.0 + index % 6) for index in range(100)]
    simulation.add(*speakers, *newcomers)
    simulation.run()
    outcome = Outcome(simulation)
    outcome.check_promises()
    assert all(turn.was_admitted for turn in simulation.turns)
    assert outcome.underruns == 0
    assert quantile((ratio for _, ratio in outcome.first_audio), 0.95) <= 2.0


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_thousands_of_turns_where_rows_are_cheap() -> None:
    outcome = crowd(FAST_MACHINE, sessions=12, arrivals=2_000, thinking_sec=1.5)
    outcome.check_promises()
    assert outcome.underruns == 0
    assert quantile((ratio for _, ratio in outcome.first_audio), 0.95) <= 1.5
    assert outcome.simulation.scheduler.statistics().refused == 0


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("cost", [SLOW_MACHINE, FAST_MACHINE])
def test_twice_as_many_callers_as_fit_cost_those_admitted_nothing(cost: CostModel) -> None:
    outcome = crowd(cost, sessions=24 if cost is SLOW_MACHINE else 32, arrivals=3_000, thinking_sec=1.5)
    outcome.check_promises()
    assert outcome.underruns == 0
    target_sec = outcome.simulation.settings.first_audio_target_sec
    assert quantile((wait for wait, _ in outcome.first_audio), 0.95) <= target_sec
    assert outcome.simulation.scheduler.statistics().refused > 300
