"""What is worth saying of a span beside its name and its time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from edge_client.trace.plain_text import plain
from edge_client.trace.recorded_span import RecordedSpan
from routing.telemetry import names

IN_VAIN: Final = frozenset({"rolled_back", "cancelled", "refused"})

_NOTED: Final = (  # what a row tells, and in which words
    (names.OUTCOME, "{}"),
    (names.ATTEMPT_OUTCOME, "{}"),
    (names.ENDPOINT_REASON, "{}"),
    (names.RETRY_REASON, "after {}"),
    (names.CONTINUES, "goes on for {}"),
    (names.REPLICA_ID, "at {}"),
    (names.BATCH_SIZE, "batch of {}"),
    (names.JITTER_DELAY_MS, "{} ms in the jitter buffer"),
    (names.INTERRUPT_STOP_MS, "silent after {} ms"),
)
_DETAILED: Final = (names.RECEIVE, names.ENDPOINT_WAIT, names.ROUTE_DECIDE, names.JITTER_BUFFER, names.FIRST_PLAYOUT)
_PREFIXES: Final = ("voice.route.", "voice.endpoint.", "endpoint.", "webrtc.", "voice.")
_ON_EVERY_SPAN: Final = frozenset(
    {
        names.SESSION_ID,
        names.CONVERSATION_ID,
        names.TURN_ID,
        names.TURN_INDEX,
        names.CONTENT_INPUT,
        names.CONTENT_OUTPUT,
    }
)
_LINKS: Final[Mapping[str, str]] = {  # by the name of the span that is linked to
    names.STEP_WINDOW: "batch",
    names.TURN: "previous turn",
    names.CONNECT: "connection",
}
_LIKELY_LINKS: Final[Mapping[str, str]] = {  # by the name of the span that links, where the other one is not at hand
    names.TURN: "previous turn or connection",
    names.QUEUE_WAIT: "batch",
    names.STEP_WINDOW: "turn in the batch",
    names.REPLICA_REQUEST: "retry of",
}


def note_of(span: RecordedSpan) -> str:
    """Outcome, reason and error in a few words."""
    noted = [words.format(_word(span.attributes[name])) for name, words in _NOTED if name in span.attributes]
    error = span.error or (str(span.attributes.get(names.ERROR_TYPE, "")) if span.failed else "")
    return ", ".join([*noted, *([plain(error, limit=80)] if error else [])])


def is_in_vain(span: RecordedSpan) -> bool:
    """Whether nobody heard what was worked out."""
    return str(span.attributes.get(names.ATTEMPT_OUTCOME)) in IN_VAIN


def details_of(span: RecordedSpan) -> str:
    """All attributes of a span that explains a turn, with short names; empty for other spans."""
    if span.name not in _DETAILED:
        return ""
    told = {
        plain(_shortened(name)): _word(value) for name, value in span.attributes.items() if name not in _ON_EVERY_SPAN
    }
    return " ".join(f"{name}={value}" for name, value in told.items() if value)


def relation(span: RecordedSpan, linked: RecordedSpan | None) -> str:
    """What a link means."""
    if names.CONTINUES in span.attributes:
        return "goes on for"
    if linked is None:
        return _LIKELY_LINKS.get(span.name, "linked")
    if linked.name == span.name and span.name != names.TURN:
        return "retry of"
    if span.name == names.STEP_WINDOW:
        return "turn in the batch"
    return _LINKS.get(linked.name, f"linked {plain(linked.name)}")


def headline_of(span: RecordedSpan) -> Iterator[str]:
    """Outcome, who answered and why."""
    yield _word(span.attributes.get(names.OUTCOME, "no outcome told"))
    target, reason = span.attributes.get(names.ROUTE_TARGET), span.attributes.get(names.ROUTE_REASON)
    if target is not None:
        yield f"answered by {_word(target)}" + (f" ({_word(reason)})" if reason else "")


def _shortened(name: str) -> str:
    prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), "")
    return name.removeprefix(prefix)


def _word(value: object) -> str:
    match value:
        case float():
            return f"{value:.3g}"
        case tuple():
            return plain(",".join(map(str, value)), limit=80)
        case _:
            return plain(value, limit=80).replace("_", " ")
