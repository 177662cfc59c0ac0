"""Of what strangers send as a trace context, only trace context travels on."""

from __future__ import annotations

import logging

import pytest

from routing.telemetry.carrier import plain_carrier
from routing.telemetry.program import Telemetry
from routing.telemetry.spans import Clock, trace_id_of

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_trace_context_travels_on_and_nothing_else_does() -> None:
    given = {"traceparent": PARENT, "tracestate": "vendor=a b,2@b=c", "baggage": "name=Ada"}
    assert plain_carrier(given) == {"traceparent": PARENT, "tracestate": "vendor=a b,2@b=c"}


@pytest.mark.parametrize(
    "state", ["a\r\nb: c", "no member", "1=digits need an @", "a=" + "x" * 512, ",".join(["a=b"] * 33), 7, ["a=b"]]
)
def test_a_state_that_is_none_stays_behind(state: object) -> None:
    assert plain_carrier({"traceparent": PARENT, "tracestate": state}) == {"traceparent": PARENT}


@pytest.mark.parametrize(
    "parent",
    [
        "",
        None,
        7,
        [PARENT],
        PARENT.upper(),
        PARENT + "-more",
        PARENT + "\n",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        "ff" + PARENT[2:],
    ],
)
def test_without_a_parent_there_is_no_trace(parent: object) -> None:
    assert plain_carrier({"traceparent": parent, "tracestate": "a=b"}) == {}


def test_what_a_stranger_sends_as_a_parent_is_neither_followed_nor_written_into_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spans = Telemetry.within(Clock(now=0.0, epoch_ns=10**18), service="antiphon-edge").spans("antiphon-edge")
    with caplog.at_level(logging.DEBUG):
        followed = spans.begin("voice.turn", at=0.0, parent={"traceparent": PARENT, "tracestate": "the secret phrase"})
        alone = spans.begin("voice.turn", at=0.0, parent={"traceparent": "the secret phrase"})
    assert trace_id_of(followed.carrier) == trace_id_of({"traceparent": PARENT})
    assert trace_id_of(alone.carrier) not in {"", trace_id_of({"traceparent": PARENT})}
    assert "secret" not in caplog.text
