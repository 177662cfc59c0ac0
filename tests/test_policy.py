"""Who answers a turn: what must never be, what is preferred, and for how long a better answer is waited for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.errors import BackendUnavailable
from routing.latency import LEVELS, Distribution
from routing.policy import (
    NET_PATIENCE_SEC,
    WANTED_STRETCH,
    Choice,
    DeviceState,
    PolicyName,
    Prospect,
    Question,
    Traits,
    choose,
)

POLICIES: tuple[PolicyName, ...] = ("device", "cloud", "latency", "hedged")
IDLE = DeviceState()
QUESTION = Question(speech_sec=1.5)
HERE = Traits(is_remote=False)
BETTER = Traits(is_remote=True, quality_sec=0.3)


def spread(median_sec: float, width: float = 1.0) -> Distribution:
    """A third below its median and, at worst, twice it; narrower with less width."""
    shape = (-0.3, -0.25, -0.15, 0.0, 0.2, 0.5, 0.7, 1.0)
    return Distribution(tuple(median_sec * (1 + width * part) for part in shape))


def device(median_sec: float = 0.15, *, is_ready: bool = False, asked_ago_sec: float = 0.1) -> Prospect:
    return Prospect(
        name="device", traits=HERE, response=spread(median_sec), is_ready=is_ready, asked_ago_sec=asked_ago_sec
    )


def cloud(
    median_sec: float = 0.2,
    *,
    traits: Traits = BETTER,
    failure: float = 0.0,
    asked_ago_sec: float = 0.1,
    is_ready: bool = False,
    why_not: str | None = None,
    name: str = "cloud",
) -> Prospect:
    return Prospect(
        name=name,
        traits=traits,
        response=spread(median_sec, 0.4),
        failure=failure,
        asked_ago_sec=asked_ago_sec,
        is_ready=is_ready,
        why_not=why_not,
    )


def hedged(*prospects: Prospect, question: Question = QUESTION, state: DeviceState = IDLE) -> Choice:
    return choose("hedged", question, prospects, state)


# -- what must not be ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_a_private_turn_stays_here_even_where_nobody_here_can_answer(policy: PolicyName) -> None:
    private = Question(speech_sec=1, stays_here=True, needs_tools=True)
    unable = replace(device(), traits=replace(HERE, tools=False), why_not="warming up")
    choice = choose(policy, private, [cloud(is_ready=True), unable], IDLE)
    assert (choice.first, choice.second) == ("device", None)
    assert choice.reason == "nobody able: cloud the turn stays on the device, device warming up"


def test_a_private_turn_with_nobody_here_is_refused() -> None:
    with pytest.raises(BackendUnavailable, match="nobody on this device, which the turn must not leave"):
        hedged(cloud(), question=Question(speech_sec=1, stays_here=True))


def test_nobody_at_all_is_refused() -> None:
    with pytest.raises(BackendUnavailable, match="nobody here to answer"):
        hedged()


@pytest.mark.parametrize(
    ("traits", "question", "obstacle"),
    [
        (replace(BETTER, tools=False), replace(QUESTION, needs_tools=True), "calls no tools"),
        (replace(BETTER, scripts=False), replace(QUESTION, is_script=True), "says no given text"),
        (
            replace(BETTER, languages=frozenset({"en"})),
            replace(QUESTION, language="fr"),
            "does not know the language fr",
        ),
    ],
)
@pytest.mark.parametrize("policy", POLICIES)
def test_work_goes_to_the_able_only(policy: PolicyName, traits: Traits, question: Question, obstacle: str) -> None:
    choice = choose(policy, question, [device(), cloud(traits=traits, is_ready=True)], IDLE)
    assert choice.first == "device"
    assert choice.second is None
    assert choice.passed_over == {"cloud": obstacle}
    assert choice.reason == f"only one able: cloud {obstacle}"


def test_a_language_that_nobody_knows_of_is_no_obstacle() -> None:
    picky = cloud(traits=replace(BETTER, languages=frozenset({"en"})), is_ready=True)
    assert hedged(device(), picky).first == "cloud"


def test_where_nobody_can_answer_one_that_can_be_asked_is_chosen() -> None:
    question = replace(QUESTION, needs_tools=True)
    unable = cloud(traits=replace(BETTER, tools=False))
    assert hedged(replace(device(), why_not="warming up"), unable, question=question).first == "cloud"
    nobody = hedged(replace(device(), why_not="warming up"), cloud(why_not="circuit open"))
    assert nobody.first == "device"
    assert nobody.reason == "nobody able: device warming up, cloud circuit open"


# -- policies --------------------------------------------------------------------------------------------------------


def test_device_stays_here_whatever_the_cloud_promises() -> None:
    choice = choose("device", QUESTION, [cloud(is_ready=True), device(2.0)], IDLE)
    assert (choice.first, choice.second, choice.reason) == ("device", None, "policy device")


def test_device_goes_out_where_the_device_cannot_answer() -> None:
    question = replace(QUESTION, needs_tools=True)
    unable = replace(device(), traits=replace(HERE, tools=False))
    prospects = [unable, cloud(0.5), cloud(0.2, name="other")]
    choice = choose("device", question, prospects, IDLE)
    assert (choice.first, choice.reason) == ("other", "policy device: nobody here is able")


def test_cloud_goes_out_with_the_device_as_the_net() -> None:
    choice = choose("cloud", QUESTION, [device(is_ready=True), cloud(2.0)], IDLE)
    assert choice.first == "cloud"
    assert choice.second == "device"
    assert choice.patience_sec == NET_PATIENCE_SEC


def test_cloud_stays_here_where_nobody_else_can() -> None:
    choice = choose("cloud", QUESTION, [device(), cloud(why_not="not connected")], IDLE)
    assert choice.first == "device"
    assert choice.reason == "only one able: cloud not connected"


@pytest.mark.parametrize(
    ("median_sec", "first", "head"),
    [(0.15, "cloud", "worth the difference"), (0.35, "cloud", "worth the difference"), (0.6, "device", "soonest")],
)
def test_latency_counts_quality_as_seconds(median_sec: float, first: str, head: str) -> None:
    choice = choose("latency", QUESTION, [device(is_ready=True), cloud(median_sec, asked_ago_sec=0.1)], IDLE)
    assert choice.first == first
    assert choice.reason.startswith(f"{head}: ")


def test_latency_counts_the_price_and_the_risk() -> None:
    dear = replace(BETTER, cost_sec=0.25)
    assert choose("latency", QUESTION, [device(is_ready=True), cloud(0.2, traits=dear)], IDLE).first == "device"
    assert choose("latency", QUESTION, [device(is_ready=True), cloud(0.2, failure=0.4)], IDLE).first == "device"


# -- the hedge -------------------------------------------------------------------------------------------------------


def test_a_better_answer_that_is_here_speaks_at_once() -> None:
    choice = hedged(device(is_ready=True), cloud(is_ready=True))
    assert (choice.first, choice.second, choice.patience_sec) == ("cloud", "device", 0.0)
    assert choice.reason == "ready: the best answer is here"


def test_a_better_answer_that_is_near_is_waited_for() -> None:
    choice = hedged(device(is_ready=True), cloud(0.2))
    assert (choice.first, choice.second) == ("cloud", "device")
    assert 0.1 < choice.patience_sec <= 0.2
    assert choice.reason.startswith("worth waiting: cloud is better, 95% likely within ")


def test_nothing_is_held_beyond_the_time_that_the_device_would_need_in_its_bad_case() -> None:
    choice = hedged(device(0.1, is_ready=True, asked_ago_sec=0.15), cloud(0.2, asked_ago_sec=0.15))
    assert choice.patience_sec <= 0.05 + 1e-9  # its 99th percentile is 0.2 s after the asking


def test_a_cloud_that_is_far_is_not_waited_for() -> None:
    choice = hedged(device(is_ready=True), cloud(0.6))
    assert (choice.first, choice.patience_sec) == ("device", 0.0)
    assert choice.reason == "not worth waiting: cloud in 518 ms, device ready"


def test_a_cloud_that_is_late_already_is_not_waited_for() -> None:
    late = cloud(0.2, asked_ago_sec=0.5)
    assert hedged(device(0.4, is_ready=True, asked_ago_sec=0.5), late).first == "device"


def test_a_cloud_that_loses_answers_is_not_waited_for() -> None:
    assert hedged(device(is_ready=True), cloud(0.2, failure=0.9)).first == "device"


def test_waiting_costs_nothing_while_the_device_has_nothing_to_say() -> None:
    barely_better = cloud(0.25, traits=replace(BETTER, quality_sec=0.02))
    assert hedged(device(0.2, is_ready=True), barely_better).first == "device"
    assert hedged(device(0.25), barely_better).first == "cloud"


def test_equals_race() -> None:
    choice = hedged(device(0.3), cloud(0.2, traits=replace(BETTER, quality_sec=0.0)))
    assert (choice.first, choice.second, choice.patience_sec) == ("cloud", "device", 0.0)
    assert choice.reason.startswith("soonest: cloud in 1")


@pytest.mark.parametrize(
    ("state", "first"),
    [
        (DeviceState(load=0.5, battery=0.5), "device"),
        (DeviceState(load=1.0), "cloud"),
        (DeviceState(battery=0.02), "cloud"),
    ],
)
def test_a_device_that_is_strained_makes_the_cloud_worth_a_wait(state: DeviceState, first: str) -> None:
    slightly_better = cloud(0.2, traits=replace(BETTER, quality_sec=0.05))
    assert hedged(device(is_ready=True), slightly_better, state=state).first == first


@pytest.mark.parametrize(
    "wish", [Question(speech_sec=1, wants_knowledge=True), Question(speech_sec=1, wants_long_answer=True)]
)
def test_what_the_small_model_should_not_answer_is_waited_for_longer(wish: Question) -> None:
    knowing = cloud(0.32, traits=replace(BETTER, knowledge=True, long_answers=True))
    here = device(0.15, is_ready=True)
    assert hedged(here, knowing).first == "device"
    choice = hedged(here, knowing, question=wish)
    assert choice.first == "cloud"
    assert 0.2 < choice.patience_sec <= 0.2 + (WANTED_STRETCH - 1) * 0.3


def test_of_two_clouds_the_worse_is_waited_for_where_the_better_is_far() -> None:
    best = cloud(3.0, traits=replace(BETTER, quality_sec=0.5), name="best")
    choice = hedged(device(is_ready=True), best, cloud(0.2, name="good"))
    assert (choice.first, choice.second) == ("good", "device")


def test_predictions_are_waits_after_the_end_of_the_turn() -> None:
    choice = hedged(device(is_ready=True), cloud(0.2, asked_ago_sec=0.1))
    assert choice.predicted_sec["device"] == 0.0
    assert choice.predicted_sec["cloud"] == pytest.approx(0.1, abs=0.02)
    later = hedged(device(is_ready=True), cloud(0.2, asked_ago_sec=0.2))  # half of the fast ones would be here
    assert later.predicted_sec["cloud"] > 0.02


def test_a_time_that_is_known_exactly_is_predicted_exactly() -> None:
    exact = replace(cloud(), response=Distribution((0.2,) * len(LEVELS)), asked_ago_sec=0.05)
    choice = hedged(device(0.2, is_ready=True), exact)
    assert choice.predicted_sec["cloud"] == pytest.approx(0.15)
    assert choice.first == "cloud"
    assert choice.patience_sec == pytest.approx(0.15)


# -- whatever the numbers --------------------------------------------------------------------------------------------

seconds = st.floats(0.0, 20.0)
shares = st.floats(0.0, 1.0)


@st.composite
def distributions(draw: st.DrawFn) -> Distribution:
    return Distribution(tuple(sorted(draw(st.lists(seconds, min_size=len(LEVELS), max_size=len(LEVELS))))))


traits = st.builds(
    Traits,
    is_remote=st.booleans(),
    quality_sec=st.floats(0.0, 3.0),
    cost_sec=st.floats(0.0, 3.0),
    tools=st.booleans(),
    scripts=st.booleans(),
    knowledge=st.booleans(),
    long_answers=st.booleans(),
    languages=st.sampled_from([None, frozenset({"en"}), frozenset({"en", "de"})]),
)
questions = st.builds(
    Question,
    speech_sec=seconds,
    stays_here=st.booleans(),
    needs_tools=st.booleans(),
    is_script=st.booleans(),
    wants_knowledge=st.booleans(),
    wants_long_answer=st.booleans(),
    language=st.sampled_from([None, "en", "de", "fr"]),
)
states = st.builds(DeviceState, load=st.floats(0.0, 3.0), battery=st.none() | shares)
policies = st.sampled_from(POLICIES)


@st.composite
def many_prospects(draw: st.DrawFn) -> list[Prospect]:
    here = Prospect(name="device", traits=replace(draw(traits), is_remote=False), response=draw(distributions()))
    names = draw(st.sampled_from([(), ("cloud",), ("cloud", "other")]))
    others = [Prospect(name=name, traits=draw(traits), response=draw(distributions())) for name in names]
    return draw(st.permutations([draw(lived(prospect)) for prospect in (here, *others)]))


@st.composite
def lived(draw: st.DrawFn, prospect: Prospect) -> Prospect:
    return replace(
        prospect,
        failure=draw(shares),
        jitter_sec=draw(st.floats(0.0, 1.0)),
        asked_ago_sec=draw(st.just(0.0) | seconds),
        is_ready=draw(st.booleans()),
        why_not=draw(st.none() | st.just("circuit open")),
    )


@settings(max_examples=40)
@given(policies, questions, many_prospects(), states)
def test_someone_is_always_chosen_and_privacy_kept(
    policy: PolicyName, question: Question, prospects: Sequence[Prospect], state: DeviceState
) -> None:
    choice = choose(policy, question, prospects, state)
    by_name = {prospect.name: prospect for prospect in prospects}
    chosen = [by_name[name] for name in (choice.first, choice.second) if name is not None]
    assert choice == choose(policy, question, prospects, state)
    assert choice.first != choice.second
    assert not (question.stays_here and any(prospect.traits.is_remote for prospect in chosen))
    assert choice.predicted_sec.keys() | choice.passed_over.keys() == by_name.keys()
    assert all(predicted >= 0 for predicted in choice.predicted_sec.values())
    if choice.predicted_sec:
        assert all(is_able(prospect, question) for prospect in chosen)


def is_able(prospect: Prospect, question: Question) -> bool:
    traits = prospect.traits
    knows = traits.languages is None or question.language is None or question.language in traits.languages
    tools, scripts = traits.tools or not question.needs_tools, traits.scripts or not question.is_script
    return prospect.why_not is None and knows and tools and scripts


@settings(max_examples=40)
@given(policies, questions, many_prospects(), states)
def test_patience_has_bounds(
    policy: PolicyName, question: Question, prospects: Sequence[Prospect], state: DeviceState
) -> None:
    choice = choose(policy, question, prospects, state)
    by_name = {prospect.name: prospect for prospect in prospects}
    assert 0 <= choice.patience_sec <= NET_PATIENCE_SEC
    if choice.patience_sec:
        assert not by_name[choice.first].is_ready
        assert choice.second is not None
    if policy == "hedged" and choice.second is not None and choice.patience_sec:
        net = by_name[choice.second]
        assert choice.patience_sec <= WANTED_STRETCH * net.response.values[-1] - net.asked_ago_sec + 1e-9


def chance_to_speak(choice: Choice, there: Prospect) -> float:
    """How likely the cloud answers, where the device has its answer ready."""
    if choice.first != there.name:
        return 0.0
    return there.response.probability_within(choice.patience_sec)


@st.composite
def clouds(draw: st.DrawFn) -> Prospect:
    return Prospect(
        name="cloud",
        traits=replace(BETTER, quality_sec=draw(st.floats(0.0, 3.0))),
        response=draw(distributions()).shifted(0.001),  # nothing takes no time at all
        failure=draw(shares),
        jitter_sec=draw(st.floats(0.0, 0.2)),
    )


@settings(max_examples=60)
@given(st.sampled_from(["latency", "hedged"]), distributions(), clouds(), st.floats(1.0, 5.0), st.floats(0.0, 5.0))
def test_a_slower_cloud_never_gets_more_turns(
    policy: PolicyName, here: Distribution, fast: Prospect, factor: float, delay_sec: float
) -> None:
    ready = Prospect(name="device", traits=HERE, response=here, is_ready=True)
    slow = replace(fast, response=fast.response.scaled(factor).shifted(delay_sec))
    chance = chance_to_speak(choose(policy, QUESTION, [ready, fast], IDLE), fast)
    assert chance_to_speak(choose(policy, QUESTION, [ready, slow], IDLE), slow) <= chance + 1e-6


@settings(max_examples=60)
@given(better=st.floats(0.0, 2.0), more=st.floats(0.0, 2.0), response=distributions(), here=distributions())
def test_a_better_model_never_gets_fewer_turns(
    better: float, more: float, response: Distribution, here: Distribution
) -> None:
    ready = Prospect(name="device", traits=HERE, response=here, is_ready=True)

    def chance(quality_sec: float) -> float:
        there = Prospect(name="cloud", traits=replace(BETTER, quality_sec=quality_sec), response=response)
        return chance_to_speak(hedged(ready, there), there)

    assert chance(better + more) >= chance(better) - 1e-6
