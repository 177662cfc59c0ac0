"""Which worker takes a new call, and which one an id names."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.conversation import new_id
from edge_client.realtime.board import Board, Load
from edge_client.realtime.crew import Crew, marked, named_worker, share
from edge_client.realtime.siblings import Siblings


@pytest.fixture
def board() -> Iterator[Board]:
    with tempfile.TemporaryFile() as file:
        file.truncate(Board.size(3))
        with closing(Board(file.fileno(), 3)) as board:
            yield board


def crew(board: Board, number: int, *, sessions: int, places: int = 4) -> Crew:
    crew = Crew(
        number=number,
        places=places,
        signing_key=b"",
        board=board,
        siblings=None,  # type: ignore[arg-type]  # nobody is asked here
        clock=lambda: 0.0,
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


def test_connections_are_left_to_those_with_less_to_do(board: Board) -> None:
    busy, idle = crew(board, 0, sessions=2), crew(board, 1, sessions=0)
    assert not busy.welcomes()
    assert idle.welcomes()
    idle.report(1)
    assert busy.welcomes()


def test_a_full_worker_leaves_connections_to_others_while_one_has_a_place(board: Board) -> None:
    full, other = crew(board, 0, sessions=4), crew(board, 1, sessions=3)
    assert not full.welcomes()
    other.report(4)
    assert full.welcomes()  # somebody must say that all places are taken


def test_a_worker_that_is_stuck_keeps_nobody_from_taking_connections(board: Board) -> None:
    busy = crew(board, 0, sessions=3)
    board.write(Load(1, sessions=0, places=4), now=-60.0)
    assert busy.welcomes()
    assert busy.emptiest() == [0]


def test_a_change_is_told() -> None:
    with tempfile.TemporaryFile() as file:
        file.truncate(Board.size(3))
        with closing(Board(file.fileno(), 3)) as board:
            changed = crew(board, 0, sessions=0)
            seen = list[int]()
            changed.on_change = lambda: seen.append(changed.sessions())
            changed.report(2)
    assert seen == [2]


async def test_siblings_are_all_the_others(tmp_path: object, nothing_left_behind: None) -> None:
    from pathlib import Path

    async with Siblings(Path(str(tmp_path)), own=1, workers=3) as siblings:
        assert siblings.numbers() == {0, 2}
