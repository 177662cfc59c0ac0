"""Reading who answered out of what a server tells."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_client.caller.placement import Placed, read_placement
from tests.test_caller_watch import JSON


def test_who_answered_why_and_what_was_expected() -> None:
    told = {"backend": "cloud", "reason": "better", "predicted_ms": {"cloud": 410.5, "device": 250, "odd": "soon"}}
    placed = read_placement(told)
    assert placed == Placed(backends=("cloud",), reason="better", predicted_ms={"cloud": 410.5, "device": 250})
    assert placed.path == "cloud"
    assert placed.expected_ms == 410.5


def test_where_the_speaker_changed_the_last_ones_reason_stands() -> None:
    switches = [{"backend": "device", "reason": "the cloud fell silent"}]
    placed = read_placement({"backend": "cloud", "reason": "better", "switches": switches})
    assert placed is not None
    assert (placed.path, placed.reason, placed.expected_ms) == ("cloud → device", "the cloud fell silent", None)


@given(st.dictionaries(st.sampled_from(["backend", "reason", "predicted_ms", "switches"]), JSON))
def test_nonsense_does_no_harm(told: dict[str, object]) -> None:
    placed = read_placement(told)
    assert (placed is None) == (not told.get("backend"))
    assert placed is None or placed.path
