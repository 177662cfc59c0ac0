"""Edges come at once and go slowly, as Kubernetes does it."""

from __future__ import annotations

import pytest

from deployments.plan.gateways import Gateway, Horizontal, HorizontalSettings, Pace, desired_pods, roomiest

PLACES = 10
SETTINGS = HorizontalSettings(minimum_pods=2, maximum_pods=50)


@pytest.mark.parametrize(
    ("sessions", "pods", "expected"),
    [
        (0, 2, 2),
        (28, 4, 4),  # 7 of 10 places each: as is meant
        (30, 4, 4),  # within the tolerance of a tenth
        (31, 4, 5),
        (21, 4, 3),
        (10_000, 4, 50),
        (14, 0, 2),
    ],
)
def test_pods_are_sessions_over_what_each_should_hold(sessions: int, pods: int, expected: int) -> None:
    assert desired_pods(sessions, pods, places=PLACES, settings=SETTINGS) == expected


def test_they_come_no_faster_than_is_allowed() -> None:
    horizontal = Horizontal(SETTINGS, PLACES)
    counts = [4]
    for now in range(0, 120, 15):
        counts.append(horizontal.pods(280, counts[-1], now))
    assert counts == [4, 8, 8, 12, 12, 18, 18, 27, 27]  # four or a half within 30 s


def test_they_go_when_nobody_needed_them_for_a_while() -> None:
    settings = SETTINGS.model_copy(update={"stabilization_sec": 60.0, "down": Pace(pods=1, share=0, within_sec=30)})
    horizontal = Horizontal(settings, PLACES)
    pods, counts = 10, []
    for now in range(0, 210, 15):
        pods = horizontal.pods(70 if now == 0 else 14, pods, now)
        counts.append(pods)
    assert counts == [10] * 5 + [9, 9, 8, 8, 7, 7, 6, 6, 5]


def test_a_call_goes_where_most_places_are_free() -> None:
    full, closed, some, most = (Gateway(2, is_open=is_open) for is_open in (True, False, True, True))
    full.sessions |= {1: None, 2: None}
    some.sessions[3] = None
    assert roomiest([full, closed, some, most]) is most
    assert roomiest([full, closed]) is None
    assert roomiest([]) is None
