"""The cost model finds the parts of a step's time again, and is not misled by a machine that pauses."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import astuple

import pytest

from deployments.engine.cost_model import Correction, CostModel, Observation, StepWork, work_of
from deployments.engine.sequence import Modality, PrefillChunk, Sequence, StepPlan
from tests.engine_simulation import FAST_MACHINE, SLOW_MACHINE


def sequence(**values: object) -> Sequence:
    defaults = {"key": 1, "slot": 0, "prompt_positions": 60, "speech_sec": 4.0, "maximum_steps": 100, "arrived_at": 0.0}
    return Sequence(**{**defaults, **values})  # type: ignore[arg-type]


def test_a_step_costs_the_sum_of_its_parts() -> None:
    model = CostModel(
        step_base_sec=1.0,
        row_sec=0.1,
        context_sec=0.01,
        frame_base_sec=2.0,
        frame_row_sec=0.2,
        prefill_base_sec=3.0,
        prefill_sec=0.03,
        encode_base_sec=4.0,
        encode_sec=0.4,
    )
    assert model.predict(StepWork()) == 0.0
    assert model.predict(StepWork(rows=2, context=10)) == pytest.approx(1.3)
    assert model.predict(StepWork(rows=2, context=10, frame_rows=1)) == pytest.approx(3.5)
    assert model.predict(StepWork(prefill=100)) == pytest.approx(6.0)
    assert model.predict(StepWork(prefill=100, speech_sec=5.0)) == pytest.approx(12.0)
    assert model.predict(StepWork(2, 10, 1, 100, 5.0)) == pytest.approx(15.5)


def test_the_work_of_a_plan_is_counted_over_its_rows() -> None:
    speaking = sequence(prefilled=60, context_positions=100, steps=8, frames=2, modality=Modality.AUDIO)
    writing = sequence(prefilled=60, steps=1)
    new = sequence(speech_sec=2.5)
    plan = StepPlan((new,), (PrefillChunk(new, 0, 32), PrefillChunk(sequence(), 16, 16)), (speaking, writing))
    assert work_of(plan) == StepWork(rows=2, context=168 + 61, frame_rows=1, prefill=48, speech_sec=2.5)


def steps(model: CostModel, count: int, noise: float = 0.0, pauses: float = 0.0) -> Iterator[Observation]:
    dice = random.Random(7)
    for _ in range(count):
        rows = dice.choice((0, 1, 2, 4, 8, 16))
        work = StepWork(
            rows=rows,
            context=sum(dice.randrange(50, 2000) for _ in range(rows)),
            frame_rows=dice.randrange(rows + 1),
            prefill=dice.choice((0, 16, 64, 256)),
            speech_sec=dice.choice((0.0, 0.0, dice.uniform(1, 10))),
        )
        pause_sec = 0.5 if dice.random() < pauses else 0.0
        yield Observation(work, model.predict(work) * dice.gauss(1.0, noise) + pause_sec)


@pytest.mark.parametrize("model", [SLOW_MACHINE, FAST_MACHINE])
def test_a_fit_finds_every_part_of_a_quiet_machine(model: CostModel) -> None:
    assert astuple(CostModel.fit(steps(model, 200))) == pytest.approx(astuple(model), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("model", [SLOW_MACHINE, FAST_MACHINE])
def test_a_fit_predicts_well_though_one_step_in_ten_was_held_up(model: CostModel) -> None:
    fitted = CostModel.fit(steps(model, 300, noise=0.05, pauses=0.1))
    for work in (StepWork(1, 100), StepWork(12, 6000, 8), StepWork(prefill=62, speech_sec=4.0)):
        assert fitted.predict(work) == pytest.approx(model.predict(work), rel=0.1)


def test_no_part_of_a_fit_takes_less_than_no_time() -> None:
    falling = [Observation(StepWork(rows=rows, context=0), 0.1 - 0.01 * rows) for rows in range(1, 8)]
    fitted = CostModel.fit(falling)
    assert min(astuple(fitted)) >= 0.0
    assert fitted.predict(StepWork(rows=4)) == pytest.approx(0.06, rel=0.1)


def test_a_fit_to_one_step_predicts_that_step() -> None:
    assert CostModel.fit([Observation(StepWork(rows=1, context=9), 0.02)]).predict(StepWork(1, 9)) == pytest.approx(
        0.02
    )


def test_a_fit_to_nothing_says_so() -> None:
    with pytest.raises(ValueError, match="at least one timed step"):
        CostModel.fit([])


def test_a_correction_believes_half_of_a_change_after_its_half_life() -> None:
    correction = Correction()
    for _ in range(100):
        correction.observe(0.02, 0.04)  # two seconds of work, as it was predicted
    assert correction.factor == pytest.approx(1.5, abs=0.01)


def test_a_correction_is_not_thrown_off_by_one_long_pause() -> None:
    correction = Correction()
    correction.observe(0.02, 30.0)
    assert correction.factor < 1.03
