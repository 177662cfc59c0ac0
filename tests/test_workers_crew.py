"""Which worker takes a new call, and which one an id names."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.conversation import new_id
from edge_client.workers.board import Board, Load
from edge_client.workers.crew import PROMISE_SEC, Crew, marked, named_worker, share
from edge_client.workers.siblings import Siblings


@pytest.fixture
def board() -> Iterator[Board]:
    with tempfile.TemporaryFile() as file:
        file.truncate(Board.size(3))
        with closing(Board(file.fileno(), 3)) as board:
            yield board


def crew(
    board: Board, number: int, *, sessions: int, places: int = 4, clock: Callable[[], float] = lambda: 0.0
) -> Crew:
    crew = Crew(
        number=number,
        places=places,
        signing_key=b"",
        board=board,
        siblings=None,  # type: ignore[arg-type]  # nobody is asked here
        clock=clock,
    )
    crew.report(sessions)
    return crew


def test_an_id_names_its_worker() -> None:
    assert named_worker(new_id(marked("rtc", 0))) == 0
    assert named_worker(new_id(marked("resume", 12))) == 12
    assert new_id(marked("rtc", 3)).startswith("rtc_")


@pytest.mark.parametrize("identifier", ["", "rtc_3f9c", "rtc_w_3f9c", "rtc_wx_1", "rtc_w1", "w1_", "../rtc_w1_2"])
def test_other_ids_name_nobody(identifier: str) -> None:
    assert named_worker(identifier) is None


@given(st.integers(1, 64), st.integers(0, 500))
def test_the_shares_are_even_and_make_up_the_whole(workers: int, more: int) -> None:
    shares = [share(workers + more, workers=workers, number=number) for number in range(workers)]
    assert sum(shares) == workers + more
    assert min(shares) >= 1
    assert max(shares) - min(shares) <= 1


def test_a_new_call_goes_where_most_places_are_free(board: Board) -> None:
    busy, _, _ = crew(board, 0, sessions=3), crew(board, 1, sessions=1), crew(board, 2, sessions=2)
    assert busy.emptiest() == [1, 2, 0]
    assert busy.sessions() == 6


def test_it_stays_where_it_came_when_others_have_no_more_places(board: Board) -> None:
    _, asked = crew(board, 0, sessions=1), crew(board, 1, sessions=1)
    assert asked.emptiest() == [1, 0]


def test_a_full_worker_takes_no_call(board: Board) -> None:
    full, _ = crew(board, 0, sessions=4), crew(board, 1, sessions=3)
    assert full.emptiest() == [1]
    _ = crew(board, 1, sessions=4)
    assert full.emptiest() == []


def test_a_worker_that_is_stuck_gets_nothing(board: Board) -> None:
    busy = crew(board, 0, sessions=3)
    board.write(Load(1, sessions=0, places=4), now=-60.0)
    assert busy.emptiest() == [0]


def test_a_crowd_is_spread_before_anybody_has_a_place(board: Board) -> None:
    asked, _ = crew(board, 0, sessions=0, places=2), crew(board, 1, sessions=0, places=2)
    takers = list[int]()
    for _ in range(4):
        takers.append(asked.taker())
        asked.promise(takers[-1])
    assert takers == [0, 1, 0, 1]
    assert asked.full
    assert asked.emptiest() == [0, 1]  # nobody has a place yet: where all may be promised, asking is worth it


def test_a_session_that_has_its_place_was_the_one_promised(board: Board) -> None:
    asked = crew(board, 0, sessions=0, places=2)
    asked.promise(0)
    asked.report(1)
    assert not asked.full
    asked.report(2)
    assert asked.full


def test_a_promise_is_forgotten(board: Board) -> None:
    now = [0.0]
    asked = crew(board, 0, sessions=0, places=1, clock=lambda: now[0])
    asked.promise(0)
    assert asked.full
    now[0] = 2 * PROMISE_SEC
    assert not asked.full


def test_those_who_are_known_to_be_full_are_not_asked_again(board: Board) -> None:
    asked, _, _ = (crew(board, number, sessions=number) for number in range(3))
    assert asked.taker() == 0
    assert asked.taker(known_full=[0]) == 1
    assert asked.taker(known_full=[0, 1, 2]) == 0  # somebody must say that all places are taken


async def test_siblings_are_all_the_others(tmp_path: Path, nothing_left_behind: None) -> None:
    async with Siblings(tmp_path, own=1, workers=3) as siblings:
        assert siblings.numbers() == {0, 2}
