"""Cells that were played stand for all: what is counted grows with them, what is felt does not."""

from __future__ import annotations

import pytest

from deployments.plan.cell import Cell
from deployments.plan.deployment import play_scale
from deployments.plan.report import remarks, tables
from deployments.plan.settings import PlanSettings, ScaleSettings
from deployments.plan.tally import Counts, Tail, Tally, tail, together

PLAN = PlanSettings.model_validate({"day": {"played_sec": 120, "bursts": [], "incidents": [], "upgrades": []}})


def test_waits_are_quantiles_that_were_met() -> None:
    assert tail([0.1 * number for number in range(1, 101)]) == pytest.approx((5.0, 9.5, 9.9))
    assert tail([]) == Tail(0, 0, 0)


def test_several_cells_add_up() -> None:
    one, other = (Cell(PLAN, sessions=20, seed=seed).play() for seed in (1, 2))
    both = together([one, other])
    assert both.cells == 2
    assert both.counts.asked == one.counts.asked + other.counts.asked
    assert both.mean("sessions") == pytest.approx(one.mean("sessions") + other.mean("sessions"))
    assert both.voice_to_voice().p50 == pytest.approx(one.voice_to_voice().p50, rel=0.1)
    assert together([]).counts == Counts()
    assert Tally().mean("sessions") == 0


def test_a_deployment_is_its_cells_many_times_over() -> None:
    scale = ScaleSettings(name="2k", sessions=2_000, cell_sessions=20)
    told: list[tuple[str, float]] = []
    outcome = play_scale(PLAN, scale, seed=1, told=lambda name, share: told.append((name, share)))
    (played,) = [Cell(PLAN, sessions=20, seed=1).play()]
    assert outcome.factor == 100
    assert outcome.v2v == played.voice_to_voice()
    assert sum(outcome.series.sessions) == pytest.approx(
        100 * sum(stretch.mean("sessions") for stretch in played.stretches)
    )
    assert sum(map(outcome.share, ("cloud", "device", "refused", "lost"))) == pytest.approx(1)
    assert told[-1] == ("2k", 1.0)


def test_regions_are_busy_by_turns() -> None:
    scale = ScaleSettings(name="3", sessions=300, cell_sessions=50, regions=3)
    outcome = play_scale(PLAN, scale, seed=1)
    assert outcome.played.cells == 3
    assert max(outcome.series.sessions) < 1.4 * 300
    assert min(outcome.series.sessions) > 0.5 * 300


def test_every_table_has_a_column_for_each_size() -> None:
    outcomes = [play_scale(PLAN, ScaleSettings(name=name, sessions=10), seed=1) for name in ("one", "other")]
    for table in tables(PLAN, outcomes):
        assert table.headings == ["", "one", "other"]
        assert all(len(row.cells) == 2 for row in table.rows)
    assert any("no GPU was measured" in remark for remark in remarks(PLAN))
