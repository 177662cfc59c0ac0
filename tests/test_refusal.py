"""An error goes over the wire as what the other side may know of it, and comes back as what it means there."""

from __future__ import annotations

import pytest

from routing.errors import AtCapacity, BackendError, BackendUnavailable, InvalidRequest, UnsuitedTurn
from routing.refusal import error_of, refusal
from routing.wire import Refused


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (AtCapacity("full", retry_after_sec=2.0), Refused(0, "at_capacity", "full", 2.0)),
        (BackendUnavailable("gone"), Refused(0, "unavailable", "gone")),
        (BackendError("failed so"), Refused(0, "failed", "failed so")),
        (InvalidRequest("too long", code="turn_too_long"), Refused(0, "turn_too_long", "too long")),
        (ZeroDivisionError("a secret"), Refused(0, "failed", "internal error")),
    ],
)
def test_each_error_has_its_words(error: Exception, told: Refused) -> None:
    assert refusal(0, error) == told


@pytest.mark.parametrize(
    ("refused", "kind", "message"),
    [
        (Refused(0, "at_capacity", "full", 3.0), AtCapacity, "full"),
        (Refused(0, "unavailable", "going away"), BackendUnavailable, "going away"),
        (Refused(1, "failed", "no model"), BackendError, "no model (failed)"),
        (Refused(1, "turn_too_long", "too long"), UnsuitedTurn, "too long (turn_too_long)"),
    ],
)
def test_what_was_told_is_an_error_again(refused: Refused, kind: type[BackendError], message: str) -> None:
    error = error_of(refused)
    assert (type(error), str(error)) == (kind, message)


@pytest.mark.parametrize(("told_sec", "retry_after_sec"), [(3.0, 3.0), (None, 1.0)])
def test_a_full_cloud_says_when_to_come_back(told_sec: float | None, retry_after_sec: float) -> None:
    error = error_of(Refused(0, "at_capacity", "full", told_sec))
    assert isinstance(error, AtCapacity)
    assert error.retry_after_sec == retry_after_sec
