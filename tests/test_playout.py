"""The buffer between the reply and the caller."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_client.playout import Playout, PlayoutStatistics
from routing.turns import Samples


def ramp(count: int, start: int = 1) -> Samples:
    return np.arange(start, start + count, dtype=np.float32)


@given(
    blocks=st.lists(st.integers(1, 1000), max_size=20),
    reads=st.lists(st.integers(1, 1000), max_size=40),
)
def test_what_is_written_is_read_in_order_whatever_the_sizes(blocks: list[int], reads: list[int]) -> None:
    playout = Playout()
    playout.begin()
    written = 0
    for size in blocks:
        playout.write(ramp(size, written + 1))
        written += size
    read = np.concatenate([np.zeros(0, np.float32), *(playout.read(size) for size in reads)])
    heard = min(written, sum(reads))
    assert playout.heard == heard
    assert np.array_equal(read[:heard], ramp(heard))
    assert not read[heard:].any()


def test_a_pause_is_silent_and_loses_nothing() -> None:
    playout = Playout()
    playout.begin()
    playout.write(ramp(100))
    playout.read(40)
    playout.pause()
    assert not playout.read(40).any()
    assert playout.heard == 40
    playout.resume()
    assert np.array_equal(playout.read(60), ramp(60, 41))


def test_a_reply_that_begins_in_a_pause_waits_for_its_end() -> None:
    playout = Playout()
    playout.pause()
    playout.begin()
    playout.write(ramp(10))
    assert not playout.read(10).any()
    playout.resume()
    assert np.array_equal(playout.read(10), ramp(10))


def test_a_flush_drops_the_rest_and_ends_a_pause() -> None:
    playout = Playout()
    playout.begin()
    playout.write(ramp(100))
    playout.read(40)
    playout.pause()
    playout.flush()
    assert playout.silent
    playout.begin()
    playout.write(ramp(10))
    assert np.array_equal(playout.read(10), ramp(10))
    assert playout.statistics() == PlayoutStatistics(queued=0, heard=10, underrun=0, dropped=60)


def test_silence_in_the_middle_of_a_reply_is_an_underrun_and_after_it_is_not() -> None:
    playout = Playout()
    playout.begin()
    playout.read(50)  # before the first sample: a wait, not an underrun
    playout.write(ramp(30))
    playout.read(50)
    playout.write(ramp(30))
    playout.finish()
    playout.read(50)
    assert playout.statistics().underrun == 20


def test_the_writer_is_told_when_there_is_no_room() -> None:
    playout = Playout(capacity_sec=0.01)
    playout.begin()
    playout.write(ramp(240))
    assert not playout.room
    playout.read(1)
    assert playout.room


def test_what_was_not_acknowledged_is_played_again() -> None:
    playout = Playout(remember_sec=1)
    playout.begin()
    playout.write(ramp(100))
    playout.read(30)
    playout.acknowledge()
    playout.read(30)
    playout.read(20)
    playout.take_back()
    assert playout.heard == 30
    assert np.array_equal(playout.read(100), np.pad(ramp(70, 31), (0, 30)))
    assert playout.heard == 100


def test_a_reply_is_not_over_before_its_end_is_acknowledged() -> None:
    playout = Playout(remember_sec=1)
    playout.begin()
    playout.write(ramp(100))
    playout.finish()
    playout.read(100)
    assert not playout.silent
    playout.acknowledge()
    assert playout.silent


def test_only_so_much_is_remembered_and_nothing_of_a_reply_that_was_cut() -> None:
    playout = Playout(remember_sec=20 / 24_000)
    playout.begin()
    playout.write(ramp(100))
    for _ in range(5):
        playout.read(10)
    playout.take_back()
    assert playout.heard == 30
    playout.read(10)
    playout.flush()
    playout.take_back()
    assert playout.silent


@given(steps=st.lists(st.sampled_from(["read", "acknowledge", "take_back"]), max_size=60))
def test_what_is_heard_in_the_end_is_all_of_it_in_order(steps: list[str]) -> None:
    playout = Playout(remember_sec=1)
    playout.begin()
    playout.write(ramp(500))
    heard = np.zeros(0, np.float32)
    unsure = np.zeros(0, np.float32)
    for step in [*steps, *["read"] * 50, "acknowledge"]:
        match step:
            case "read":
                before = playout.heard
                read = playout.read(10)
                unsure = np.concatenate([unsure, read[: playout.heard - before]])
            case "acknowledge":
                playout.acknowledge()
                heard, unsure = np.concatenate([heard, unsure]), np.zeros(0, np.float32)
            case _:
                playout.take_back()
                unsure = np.zeros(0, np.float32)
    assert np.array_equal(heard, ramp(500))
    assert playout.silent
