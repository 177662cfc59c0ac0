"""No number in k8s/CAPACITY.md is stale."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deployments.plan.capacity import FILE, PART, PARTS, PLAYED, SEED, filled, played
from deployments.plan.deployment import play
from deployments.plan.needs import most_slots, step_bound_sec
from deployments.plan.settings import PlanSettings

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / FILE).read_text("utf-8")
PLAN = PlanSettings()


def test_every_table_is_what_the_plan_reckons() -> None:
    assert {found[2] for found in PART.finditer(TEXT)} == {*PARTS, *PLAYED}
    assert filled(TEXT, {name: part(PLAN) for name, part in PARTS.items()}) == TEXT


@pytest.mark.hostile
@pytest.mark.timeout(300)
def test_every_table_of_the_day_is_what_is_played() -> None:
    assert filled(TEXT, played(PLAN, play(PLAN, seed=SEED))) == TEXT


def test_no_table_stands_outside_of_what_is_reckoned() -> None:
    assert "|" not in PART.sub("", TEXT)


def test_the_numbers_in_the_prose_are_those_of_the_plan() -> None:
    assert f"= {1000 * step_bound_sec():.1f} ms" in TEXT
    assert most_slots(0.016, 0.0005) == int((0.75 * step_bound_sec() - 0.016) / 0.0005)
    assert "53.3" in TEXT
    assert f"{24_000 * 16 * 4 // 3 // 1000} kbit/s" in TEXT
    assert f"`engine.scheduler.maximum_running`, {PLAN.replicas.slots} by default" in TEXT
    assert f"with seed {SEED}" in TEXT
    (burst,), (incident,), (upgrade,) = PLAN.day.bursts, PLAN.day.incidents, PLAN.day.upgrades
    hours = re.findall(r"(\d+):00", TEXT)
    assert [float(hour) for hour in hours] == [burst.hour, incident.hour, upgrade]
    assert (burst.share, incident.replicas, incident.gateways) == (0.25, 0.1, 0.1)  # a quarter, a tenth, a tenth
    assert PLAN.telemetry.kept_share == PLAN.telemetry.notable_share == 0.02


def test_what_it_names_exists() -> None:
    for name in re.findall(r"`((?:tests|configs|k8s)/[\w./-]+)`", TEXT):
        assert (ROOT / name).exists(), name
