"""What can be said of a plan, and how much follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from deployments.engine.settings import SchedulerSettings
from deployments.plan.day import OFFICE_DAY, DaySettings, share_at
from deployments.plan.distribution import Lognormal
from deployments.plan.settings import PlanSettings, ScaleSettings, read_plan
from deployments.settings import IngressSettings
from edge_client.webrtc import opus
from routing.errors import SettingsError

ROOT = Path(__file__).parent.parent
PLAN = PlanSettings()


def test_the_file_holds_every_setting_with_its_default() -> None:
    file = ROOT / "configs" / "plan.yaml"
    assert read_plan(file) == PLAN
    assert names_in(yaml.safe_load(file.read_text())) == names_of(PLAN)


def names_in(content: Any, place: str = "") -> set[str]:
    """All paths of a YAML file that lead to a value."""
    if not isinstance(content, dict) or not content:
        return {place}
    return set().union(*(names_in(value, f"{place}.{name}") for name, value in content.items()))


def names_of(settings: BaseModel, place: str = "") -> set[str]:
    names: set[str] = set()
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        names |= names_of(value, f"{place}.{name}") if isinstance(value, BaseModel) else {f"{place}.{name}"}
    return names


def test_what_is_unknown_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("gateways: {place: 3}\n")
    with pytest.raises(SettingsError, match=r"gateways.place: there is no such setting; did you mean places\?"):
        read_plan(tmp_path / "plan.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(SettingsError, match="expected settings by name, got list"):
        read_plan(tmp_path / "list.yaml")


AT_ONCE = {"median": 0, "p95": 0}
INSTANT = {
    "calls": {"think": AT_ONCE, "speech": AT_ONCE, "reply": AT_ONCE},
    "turn_taking": {"pause_sec": 0, "endpoint_wait": AT_ONCE},
    "replicas": {"step_base_sec": 0, "step_row_sec": 0, "prompt_sec": 0},
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"day": {"hours": [1, 2]}},
        {"day": {"upgrades": [25]}},
        {"calls": {"think": {"median": 3, "p95": 2}}},
        {"calls": {"think": {"median": 0, "p95": 2}}},
        {"scales": []},
        {"replicas": {"slots": 0}},
        {"scales": [{"name": "twice", "sessions": 1}, {"name": "twice", "sessions": 2}]},
        {"gateways": {"scaling": {"minimum_pods": 5, "maximum_pods": 2}}},
        INSTANT,
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|greater|at least"):
        PlanSettings.model_validate(wrong)


def test_what_is_said_elsewhere_is_the_same_here() -> None:
    scheduler = SchedulerSettings()
    assert PLAN.replicas.slots == scheduler.maximum_running
    assert PLAN.replicas.waiting == scheduler.maximum_waiting
    assert PLAN.replicas.ahead_sec == scheduler.maximum_ahead_sec
    assert PLAN.replicas.first_audio_target_sec == scheduler.first_audio_target_sec
    assert PLAN.replicas.tries == IngressSettings().replicas_tried
    assert PLAN.traffic.opus_bits_per_sec == opus.BIT_RATE
    edge = yaml.safe_load((ROOT / "configs" / "edge.cluster.yaml").read_text())
    assert PLAN.gateways.places == edge["maximum_sessions"]


def test_a_length_has_the_median_and_the_p95_that_were_said() -> None:
    import numpy as np

    length = Lognormal(median=3.0, p95=10.0)
    drawn = [next(draws) for draws in [length.draws(np.random.default_rng(1))] for _ in range(20_000)]
    assert np.median(drawn) == pytest.approx(3.0, rel=0.03)
    assert np.quantile(drawn, 0.95) == pytest.approx(10.0, rel=0.03)
    assert np.mean(drawn) == pytest.approx(length.mean, rel=0.03)


def test_the_day_goes_straight_from_hour_to_hour() -> None:
    hours = (0.0, 2.0, *[1.0] * 22)
    assert [share_at(hours, hour) for hour in (0, 0.25, 1, 1.5, 23.5)] == [0, 0.25, 1, 0.75, 0.25]
    day = DaySettings(played_sec=2400.0)
    assert day.second_of(12) == 1200
    assert day.hour_at(600) == 6


def test_cells_in_several_regions_are_as_many_as_it_takes_for_all_sessions_at_once() -> None:
    one = ScaleSettings(name="one", sessions=10_000, cell_sessions=1000)
    three = one.model_copy(update={"regions": 3})
    assert one.cells(OFFICE_DAY) == 10
    assert three.cells(OFFICE_DAY) == 15  # of which never more than two thirds are busy at the same time
    assert three.cells((1.0,) * 24) == 12  # as many in each region


def test_quick_is_smaller_and_has_the_same_scales() -> None:
    quick = PLAN.quick()
    assert [scale.sessions for scale in quick.scales] == [scale.sessions for scale in PLAN.scales]
    assert quick.day.played_sec < PLAN.day.played_sec
