"""A finding reads as a sentence, and shows no secret."""

from __future__ import annotations

from edge_client.doctor.finding import fault, ok, skipped, warning


def test_a_line_says_what_was_expected_what_was_found_and_what_to_do() -> None:
    found = fault("port", "another program on it", expected="a free port", advice="End that program.")
    assert found.line == "expected a free port, found another program on it. End that program."
    assert ok("port", "it is free").line == "it is free"
    assert skipped("TURN", "none is set", advice="Set one.").line == "none is set. Set one."
    assert (found.verdict, ok("a", "b").verdict) == ("fault", "ok")


def test_secrets_are_hidden_wherever_they_stand() -> None:
    told = warning("cloud", "hunter22 is refused", expected="not hunter22", advice="Change hunter22.")
    hidden = told.without(["hunter22"])
    assert "hunter22" not in hidden.line
    assert hidden.found == "••• is refused"


def test_what_is_too_short_for_a_secret_takes_no_words_apart() -> None:
    assert ok("settings", "all is well").without(["all", ""]).found == "all is well"
