"""No seed makes ids come again."""

from __future__ import annotations

import random
import secrets

import pytest

from routing.telemetry.identifiers import SecretIds
from routing.telemetry.program import Telemetry
from routing.telemetry.spans import Clock, trace_id_of


def test_ids_are_new_after_each_seed() -> None:
    spans = Telemetry.within(Clock(now=0.0, epoch_ns=10**18), service="antiphon-edge").spans("antiphon-edge")
    parents = []
    for _ in range(100):
        random.seed(0)
        parents.append(spans.begin("voice.turn", at=0.0).carrier["traceparent"])
    assert len({trace_id_of({"traceparent": parent}) for parent in parents}) == 100
    assert len({parent.split("-")[2] for parent in parents}) == 100


def test_a_trace_says_that_its_id_is_random() -> None:
    spans = Telemetry.within(Clock(now=0.0, epoch_ns=10**18), service="antiphon-edge").spans("antiphon-edge")
    flags = int(spans.begin("voice.turn", at=0.0).carrier["traceparent"].split("-")[3], 16)
    assert flags & 0b10, "the random bit of W3C Trace Context, level 2"


def test_no_id_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([0, 7, 0, 0, 9])
    monkeypatch.setattr(secrets, "randbits", lambda bits: next(drawn))
    ids = SecretIds()
    assert (ids.generate_trace_id(), ids.generate_span_id()) == (7, 9)
