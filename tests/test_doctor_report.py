"""Findings as lines, as a sum, and as JSON."""

from __future__ import annotations

from edge_client.doctor.finding import Finding, fault, ok, skipped, warning
from edge_client.doctor.report import as_json, as_line, is_healthy, summary

OK: Finding = ok("port", "it is free")
WARNING = warning("cores", "1 core", expected="two", advice="Add one.")
FAULT = fault("TURN", "two\nlines", expected="a relay", advice="Mend it.")
SKIPPED = skipped("cloud", "none is set")


def test_a_finding_is_one_line() -> None:
    assert as_line(FAULT).plain == "fault    TURN                 expected a relay, found two lines. Mend it."


def test_the_sum_says_what_to_do_next() -> None:
    assert summary([OK, OK, SKIPPED]) == "2 ok, 1 skipped: all is well"
    assert summary([OK, WARNING]) == "1 ok, 1 warning: all works, and could be better"
    assert summary([OK, FAULT, WARNING]).startswith("1 ok, 1 warning, 1 fault: mend the faults first")


def test_programs_are_told_everything() -> None:
    told = as_json([OK, FAULT])
    assert told["healthy"] is False
    assert told["counts"] == {"ok": 1, "warning": 0, "fault": 1, "skipped": 0}
    assert told["findings"][1] == {
        "about": "TURN",
        "verdict": "fault",
        "found": "two\nlines",
        "expected": "a relay",
        "advice": "Mend it.",
    }


def test_only_faults_make_it_unhealthy() -> None:
    assert is_healthy([OK, WARNING, SKIPPED])
    assert not is_healthy([OK, FAULT])
