"""What one direction of a bad network does to packets, whatever the network."""

from __future__ import annotations

from itertools import groupby, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.network.link import Link, LinkStatistics
from edge_client.network.profile import PROFILES, Cut, NetworkProfile

SIZE = 100
MANY = 20_000


def voice(link: Link, count: int, began_at: float = 0.0) -> list[float | None]:
    """A packet every 20 ms; when each arrived."""
    return [link.send(SIZE, began_at + index * 0.02) for index in range(count)]


def mean_burst(arrivals: list[float | None]) -> float:
    bursts = [len(list(group)) for arrived, group in groupby(arrivals, lambda due: due is not None) if not arrived]
    return sum(bursts) / len(bursts)


@st.composite
def profiles(draw: st.DrawFn) -> NetworkProfile:
    delay_ms = draw(st.floats(0, 500))
    return NetworkProfile(
        name="any",
        delay_ms=delay_ms,
        jitter_ms=draw(st.floats(0, delay_ms)),
        loss=draw(st.floats(0, 1)),
        burst=draw(st.floats(0, 0.99)),
        rate_kbps=draw(st.none() | st.floats(8, 100_000)),
        queue_ms=draw(st.floats(0, 500)),
        reorder=draw(st.booleans()),
        cuts=tuple(draw(st.lists(st.builds(Cut, st.floats(0, 5), st.floats(0.01, 5)), max_size=2))),
    )


packets = st.lists(st.tuples(st.integers(1, 1500), st.floats(0, 0.2)), max_size=100)


@given(profile=profiles(), packets=packets, seed=st.integers(0, 2**32))
def test_delay_is_bounded_order_is_kept_and_all_is_counted(
    profile: NetworkProfile, packets: list[tuple[int, float]], seed: int
) -> None:
    link, now, arrivals = Link(profile, seed=seed), 0.0, []
    for size, pause in packets:
        now += pause
        due = link.send(size, now)
        if due is not None:
            sending_ms = size * 8 / profile.rate_kbps if profile.rate_kbps else 0.0
            longest_ms = profile.queue_ms + sending_ms + profile.delay_ms + profile.jitter_ms
            shortest_ms = profile.delay_ms - profile.jitter_ms
            assert shortest_ms - 1e-6 <= (due - now) * 1000 <= longest_ms + 1e-6
            arrivals.append(due)
    assert profile.reorder or all(earlier <= later for earlier, later in pairwise(arrivals))
    counts = link.statistics()
    assert (counts.sent, counts.passed) == (len(packets), len(arrivals))
    assert min(counts.lost, counts.overflowed, counts.cut) >= 0


@pytest.mark.slow
@pytest.mark.timeout(60)
@given(profile=profiles(), packets=packets, seed=st.integers(0, 2**32))
def test_equal_seeds_do_equal_things(profile: NetworkProfile, packets: list[tuple[int, float]], seed: int) -> None:
    links = Link(profile, seed=seed), Link(profile, seed=seed)
    now = 0.0
    for size, pause in packets:
        now += pause
        assert links[0].send(size, now) == links[1].send(size, now)


@pytest.mark.slow
@pytest.mark.timeout(60)
@settings(max_examples=30)
@given(loss=st.floats(0.01, 0.5), burst=st.floats(0, 0.8), seed=st.integers(0, 2**32))
def test_as_many_are_lost_as_was_said_whatever_the_bursts(loss: float, burst: float, seed: int) -> None:
    arrivals = voice(Link(NetworkProfile(name="lossy", loss=loss, burst=burst), seed=seed), MANY)
    stay = max(loss, burst)
    # Six standard deviations of the mean: bursts make neighbours alike, and so the mean less certain.
    uncertainty = 6 * (loss * (1 - loss) / MANY * (1 + stay) / (1 - stay)) ** 0.5
    assert arrivals.count(None) / MANY == pytest.approx(loss, abs=uncertainty)


@pytest.mark.parametrize(("burst", "length"), [(0.0, 1 / 0.95), (0.4, 1 / 0.6), (0.75, 4.0)])
def test_bursts_are_as_long_as_was_said(burst: float, length: float) -> None:
    arrivals = voice(Link(NetworkProfile(name="lossy", loss=0.05, burst=burst), seed=1), MANY)
    assert mean_burst(arrivals) == pytest.approx(length, rel=0.1)


def test_everything_can_be_lost() -> None:
    assert voice(Link(NetworkProfile(name="dead", loss=1.0), seed=1), 100) == [None] * 100


def test_jitter_is_even_around_the_delay() -> None:
    profile = NetworkProfile(name="uneven", delay_ms=60, jitter_ms=30, reorder=True)
    arrivals = voice(Link(profile, seed=1), MANY)
    delays = sorted(due - index * 0.02 for index, due in enumerate(arrivals) if due is not None)
    assert sum(delays) / MANY == pytest.approx(0.060, abs=0.001)
    assert delays[MANY // 4] == pytest.approx(0.045, abs=0.001)
    assert any(earlier > later for earlier, later in pairwise(due or 0.0 for due in arrivals))


def test_a_rate_spaces_packets_out_and_a_full_queue_drops_them() -> None:
    profile = NetworkProfile(name="slow", delay_ms=10, rate_kbps=80, queue_ms=25)  # 100 bytes take 10 ms
    link = Link(profile, seed=1)
    assert [link.send(SIZE, 1.0) for _ in range(5)] == [pytest.approx(due) for due in (1.02, 1.03, 1.04)] + [None] * 2
    assert link.send(SIZE, 1.03) == pytest.approx(1.05)
    assert link.statistics() == LinkStatistics(sent=6, lost=0, overflowed=2, cut=0)


def test_a_planned_cut_lasts_as_long_as_was_said() -> None:
    link = Link(NetworkProfile(name="tunnel", cuts=(Cut(at_sec=2.0, duration_sec=1.0),)), seed=1)
    sent_at = [100.0 + step / 2 for step in range(8)]
    assert [link.send(SIZE, now) is None for now in sent_at] == [False] * 4 + [True] * 2 + [False] * 2
    assert link.statistics() == LinkStatistics(sent=8, lost=0, overflowed=0, cut=2)


def test_a_link_that_is_restored_loses_what_it_lost_before() -> None:
    lossy = NetworkProfile(name="lossy", loss=0.3, burst=0.5)
    link, uncut = Link(lossy, seed=1), Link(lossy, seed=1)
    before = voice(link, 100)
    link.cut()
    assert voice(link, 50, began_at=2.0) == [None] * 50
    link.restore()
    fates = [due is None for due in before + voice(link, 100, began_at=3.0)]
    assert fates == [due is None for due in voice(uncut, 200)]
    assert link.statistics().cut == 50


def test_what_was_on_its_way_when_the_link_was_cut_arrives() -> None:
    link = Link(NetworkProfile(name="far", delay_ms=100), seed=1)
    due = link.send(SIZE, 1.0)
    link.cut()
    assert due == pytest.approx(1.1)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES.keys())
def test_a_voice_gets_through_every_named_network(profile: NetworkProfile) -> None:
    link = Link(profile, seed=1)
    arrivals = voice(link, 5000)
    counts = link.statistics()
    assert counts.lost / (counts.sent - counts.cut) == pytest.approx(profile.loss, abs=0.01)
    assert counts.overflowed == 0  # a voice needs less than any of them can take
    assert counts.cut == sum(cut.duration_sec for cut in profile.cuts) / 0.02
    assert counts.passed == 5000 - arrivals.count(None)
