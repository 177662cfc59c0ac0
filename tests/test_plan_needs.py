"""Arithmetic: what so many sessions take."""

from __future__ import annotations

import re

import pytest
import yaml

from deployments.plan.needs import cost, gateway_cores, most_slots, needs, relays_for, step_bound_sec
from deployments.plan.settings import PlanSettings, PriceSettings
from deployments.plan.traffic import traffic
from tests.test_plan_settings import ROOT

PLAN = PlanSettings()


def test_a_step_keeps_up_with_speech() -> None:
    assert 1000 * step_bound_sec() == pytest.approx(53.33, abs=0.01)
    assert 1000 * step_bound_sec(6, 9) == pytest.approx(48.0)
    assert most_slots(0.016, 0.0005) == 48 - 1  # of 48 the step takes exactly three quarters, but for rounding
    assert most_slots(0.05, 0.001) == 0
    assert PLAN.replicas.step_sec(PLAN.replicas.slots) < 0.75 * step_bound_sec()


def test_a_packet_has_eighty_bytes_of_sound_and_fifty_eight_around_them() -> None:
    of_call = traffic(PLAN)
    assert of_call.packet_bytes == 138
    assert of_call.down == pytest.approx(138 * 8 * 50 * 1.05)
    assert of_call.up == of_call.down
    assert of_call.relayed == pytest.approx(2 * of_call.down * (142 + 138) / 138)  # each way: in with 4 more, and out
    six = traffic(PLAN.model_copy(update={"traffic": PLAN.traffic.model_copy(update={"ipv6": True})}))
    assert six.packet_bytes == 158


def test_who_is_silent_and_says_so_sends_less() -> None:
    silent = PLAN.model_copy(update={"traffic": PLAN.traffic.model_copy(update={"speaking_share_only": True})})
    assert traffic(silent).up == pytest.approx(traffic(PLAN).up * PLAN.calls.speech.mean / PLAN.cycle_sec)
    assert traffic(silent).down == traffic(PLAN).down


def test_needs_grow_with_sessions() -> None:
    one, many = needs(PLAN, 1_000), needs(PLAN, 1_000_000)
    assert many.slots == pytest.approx(1000 * one.slots)
    assert many.replicas == pytest.approx(1000 * one.slots / (0.75 * 16), rel=0.001)
    assert one.replicas * 16 * 0.75 >= one.slots > (one.replicas - 1) * 16 * 0.75
    assert one.gateways * 0.7 * 16 >= 1_000
    assert one.slots == pytest.approx(one.cloud_turns_per_sec * PLAN.slot_sec)  # Little
    assert many.spare_replicas < 1000 * one.spare_replicas  # chance evens out


def test_a_relay_is_full_by_its_ports_or_by_its_traffic() -> None:
    assert relays_for(PLAN, 1800, 1e6) == 1
    assert relays_for(PLAN, 1801, 1e6) == 2
    assert relays_for(PLAN, 10, 2.5e9) == 3


def test_a_relay_has_the_ports_that_it_is_configured_with() -> None:
    quota = re.search(
        r"^total-quota=(\d+)$", (ROOT / "configs/coturn/turnserver.conf").read_text("utf-8"), re.MULTILINE
    )
    assert quota
    assert PLAN.traffic.relay_ports == int(quota[1])


def test_a_cost_is_a_sum_of_hours() -> None:
    prices = PriceSettings(gpu_hour=2, core_hour=0.1, gib_hour=0.01, egress_gb=0.05)
    paid = cost(prices, gpus=3, cores=10, gib=100, egress_bits=8e9)
    assert (paid.gpus, paid.cores, paid.memory, paid.egress) == pytest.approx((6, 1, 1, 180))
    assert paid.total == pytest.approx(188)


def test_the_device_costs_the_edge_what_it_answers() -> None:
    none, all_ = (gateway_cores(PLAN, 100, device_share=share) for share in (0, 1))
    assert all_ - none == pytest.approx(100 * PLAN.gateways.device_core_sec / PLAN.cycle_sec)


def test_the_share_of_traces_that_is_kept_is_the_collectors() -> None:
    gateway = yaml.safe_load((ROOT / "configs" / "telemetry" / "collector-gateway.yaml").read_text())
    policies = gateway["processors"]["tail_sampling"]["policies"]
    (baseline,) = [policy for policy in policies if policy["name"] == "baseline"]
    assert PLAN.telemetry.kept_share == baseline["probabilistic"]["sampling_percentage"] / 100
