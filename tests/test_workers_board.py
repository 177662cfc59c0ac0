"""What workers know of each other: the numbers they share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing

import pytest

from edge_client.workers.board import FRESH_SEC, Board, Load


@pytest.fixture
def descriptor() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.truncate(Board.size(3))
        yield file.fileno()


def test_what_one_worker_writes_another_reads(descriptor: int) -> None:
    with closing(Board(descriptor, 3)) as mine, closing(Board(descriptor, 3)) as theirs:
        mine.write(Load(2, sessions=1, places=5), now=100.0)
        mine.write(Load(0, sessions=4, places=6), now=100.0)
        assert theirs.loads(now=100.1) == [Load(0, 4, 6), Load(2, 1, 5)]
        assert [load.free for load in theirs.loads(now=100.1)] == [2, 4]


def test_a_worker_that_is_stuck_is_not_counted_on(descriptor: int) -> None:
    with closing(Board(descriptor, 3)) as board:
        board.write(Load(0, sessions=0, places=5), now=100.0)
        board.write(Load(1, sessions=0, places=5), now=101.0)
        assert board.loads(now=100.0 + FRESH_SEC + 0.5) == [Load(1, 0, 5)]


def test_a_worker_that_died_is_gone_at_once(descriptor: int) -> None:
    with closing(Board(descriptor, 3)) as board:
        board.write(Load(0, sessions=3, places=5), now=1.0)
        board.clear(0)
        assert board.loads(now=1.0) == []


def test_how_long_a_worker_has_been_silent(descriptor: int) -> None:
    with closing(Board(descriptor, 3)) as board:
        assert board.silence_sec(0, now=100.0) == 0  # it has not begun
        board.write(Load(0, sessions=3, places=5), now=100.0)
        assert board.silence_sec(0, now=130.0) == 30
        board.clear(0)
        assert board.silence_sec(0, now=130.0) == 0
