"""What a caller's datagrams tell about what the caller hears."""

from __future__ import annotations

from collections.abc import Iterable

from edge_client.realtime.call import REMEMBER_SEC
from edge_client.webrtc.pulse import HOLD_SEC, Pulse, Sign

TICK = 0.02


def signs(sounds: Iterable[float], *, others: Iterable[float] = (), until: float) -> list[tuple[float, Sign]]:
    """Look every 20 ms, at a caller whose sound and other datagrams come at these times."""
    sounds = sorted(sounds)
    times = sorted([*sounds, *others])
    pulse = Pulse(0.0)
    story: list[tuple[float, Sign]] = []
    for step in range(1, round(until / TICK)):
        now = step * TICK
        came = [time for time in times if time <= now]
        sign = pulse.look(came[-1] if came else None, sum(time <= now for time in sounds), now)
        if not story or story[-1][1] != sign:
            story.append((round(now, 2), sign))
    return story


def every(gap: float, begin: float, end: float) -> list[float]:
    return [begin + index * gap for index in range(round((end - begin) / gap))]


def test_a_steady_caller_is_alive_all_the_time() -> None:
    assert signs(every(TICK, 0, 5), until=5) == [(0.02, "alive")]


def test_a_cut_link_is_noticed_and_what_was_sent_into_it_is_lost() -> None:
    story = signs([*every(TICK, 0, 3), *every(TICK, 8, 10)], until=10)
    assert [sign for _, sign in story] == ["alive", "waiting", "missing", "returning", "lost", "alive"]
    assert 3 + HOLD_SEC <= story[2][0] <= 3 + HOLD_SEC + 2 * TICK
    assert 8 <= story[3][0] <= 8 + TICK


def test_a_link_that_held_everything_back_has_lost_nothing() -> None:
    held_back = [8.0 + index * 0.0001 for index in range(250)]
    story = signs([*every(TICK, 0, 3), *held_back, *every(TICK, 8.02, 10)], until=10)
    assert [sign for _, sign in story] == ["alive", "waiting", "missing", "returning", "delayed", "alive"]


def test_the_quiet_of_a_caller_who_only_listens_means_nothing() -> None:
    assert {sign for _, sign in signs(every(2.5, 0, 30), until=30)} == {"alive"}


def test_a_caller_who_only_answers_events_is_not_missing_when_there_are_no_more_of_them() -> None:
    assert {sign for _, sign in signs([], others=every(0.2, 0, 3), until=8)} == {"alive"}


def test_a_caller_whose_microphone_ends_is_missed_until_something_else_comes() -> None:
    story = signs(every(TICK, 0, 3), others=every(2.5, 4, 20), until=20)
    assert [sign for _, sign in story] == ["alive", "waiting", "missing", "returning", "lost", "alive"]


def test_silence_sent_as_one_packet_in_400_ms_is_no_cut() -> None:
    story = signs([*every(TICK, 0, 3), *every(0.4, 3, 6)], until=6)
    assert {sign for _, sign in story} == {"alive", "waiting"}


def test_one_lost_packet_of_such_a_silence_is_no_cut_either() -> None:
    silence = every(0.4, 3, 6)
    story = signs([*every(TICK, 0, 3), *silence[:4], *silence[5:]], until=6)
    assert {sign for _, sign in story} == {"alive", "waiting"}


def test_what_such_a_caller_is_sent_into_a_cut_is_remembered_until_it_is_noticed() -> None:
    story = signs([*every(TICK, 0, 3), *every(0.4, 3, 5), 12.0, 12.02], until=13)
    assert [sign for _, sign in story][-4:] == ["missing", "returning", "lost", "alive"]
    assert next(time for time, sign in story if sign == "missing") - 4.6 < REMEMBER_SEC


def test_a_caller_who_is_not_connected_yet_is_not_missing() -> None:
    assert signs([], until=5) == [(0.02, "alive")]
