"""Named networks, and what a network cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from edge_client.network.profile import PROFILES, Cut, NetworkProfile, find_profile
from routing.errors import InvalidRequest


def test_networks_are_found_by_name() -> None:
    assert list(PROFILES) == ["clean", "lan", "wifi", "4g", "3g", "train", "outage"]
    assert all(find_profile(name).name == name for name in PROFILES)


def test_an_unknown_network_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match=r"one of clean, lan, .*, outage, got '5g'"):
        find_profile("5g")


def test_a_tunnel_outlives_suspicion_and_an_outage_outlives_the_connection() -> None:
    assert [cut.duration_sec for cut in PROFILES["train"].cuts] == [5.0]
    assert all(10.0 < cut.duration_sec < 60.0 for cut in PROFILES["outage"].cuts)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"delay_ms": -1}, "delay_ms to be 0 or more, got -1"),
        ({"delay_ms": 10, "jitter_ms": 11}, r"jitter_ms to be 0 to delay_ms \(10\), got 11"),
        ({"loss": 1.1}, "loss to be 0 to 1, got 1.1"),
        ({"burst": 1}, "burst to be 0 to less than 1, got 1"),
        ({"rate_kbps": 0}, "rate_kbps to be more than 0, got 0"),
        ({"queue_ms": -1}, "queue_ms to be 0 or more, got -1"),
    ],
)
def test_a_network_that_cannot_be_is_refused(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault):
        NetworkProfile(name="mine", **values)


@pytest.mark.parametrize(("at_sec", "duration_sec"), [(-1.0, 5.0), (1.0, 0.0)])
def test_a_cut_that_cannot_be_is_refused(at_sec: float, duration_sec: float) -> None:
    with pytest.raises(InvalidRequest, match="_sec to be"):
        Cut(at_sec, duration_sec)
