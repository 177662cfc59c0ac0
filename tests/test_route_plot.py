"""Plots made of characters."""

from __future__ import annotations

from edge_client.route.plot import Point, histogram, letters, scatter


def test_a_scatter_has_the_letters_of_backends_the_diagonal_and_the_scale() -> None:
    points = {"device": [Point(0, 0), Point(0, 100)], "cloud": [Point(100, 0), Point(100, 100)]}
    assert scatter(points, columns=8, rows=4) == [
        "     100 │d     ·c",
        "         │    ··  ",
        "         │  ··    ",
        "       0 │d·     c",
        "         └────────",
        "          0actual ↑  predicted →  ms    100",
    ]


def test_backends_that_meet_are_marked() -> None:
    points = {"device": [Point(50, 50)], "cloud": [Point(50, 50)]}
    assert sum("+" in row for row in scatter(points)) == 1


def test_backends_have_letters_of_their_own() -> None:
    assert letters(["device", "cloud", "claude", "d"]) == {"device": "d", "cloud": "c", "claude": "l", "d": "a"}


def test_a_histogram_counts_what_is_beyond_in_the_last_column() -> None:
    assert histogram([0.0, 1.0, 1.1, 5.0, 900.0], until=8.0, columns=4) == "█ ▃▃"


def test_nothing_is_plotted_as_nothing() -> None:
    assert histogram([], until=1.0, columns=3) == "   "
    assert len(scatter({})) > 2
