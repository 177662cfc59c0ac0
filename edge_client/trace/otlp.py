"""A line of a trace file, read: an export request of OpenTelemetry as JSON, as the specification of OTLP has it.

Ids are hexadecimal, 64-bit numbers are decimal strings (plain numbers are taken as well), enumerations are numbers or
their names. Unknown fields are passed over, as the specification asks.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from edge_client.trace.recorded_span import Event, RecordedSpan, SpanKind
from routing.errors import InvalidRequest

OTHER_SIGNALS: Final = frozenset({"resourceMetrics", "resourceLogs", "resourceProfiles"})

_MAX_NUMBER: Final = 2**63
_MAX_NS: Final = _MAX_NUMBER
_NO_ID: Final = "0" * 16
_SERVICE: Final = "service.name"
_KINDS: Final[Mapping[object, SpanKind]] = {
    key: name
    for number, name in enumerate[SpanKind](("internal", "server", "client", "producer", "consumer"), 1)
    for key in (number, f"SPAN_KIND_{name.upper()}")
}
_ERROR: Final = (2, "STATUS_CODE_ERROR")


class TraceFileError(InvalidRequest):
    """A file holds no traces, or is damaged. The message names the file, the line and the field."""


def spans_of(line: bytes) -> tuple[RecordedSpan, ...]:
    """The spans of one line; none where it tells of metrics or logs.

    Raises:
        TraceFileError: it is something else.
    """
    try:
        return tuple(_request(json.loads(line)))
    except TraceFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise TraceFileError(f"expected an export of spans in JSON, got something else: {_brief(error)}") from None


def _request(document: object) -> Iterator[RecordedSpan]:
    if isinstance(document, dict) and "resourceSpans" not in document and OTHER_SIGNALS & document.keys():
        return
    if not isinstance(document, dict) or "resourceSpans" not in document:
        raise TraceFileError(f"expected an export of spans, an object with resourceSpans, got {_shape(document)}")
    for resource_spans in _objects(document, "resourceSpans"):
        resource = _attributes(_object(resource_spans, "resource"))
        service = str(resource.pop(_SERVICE, "unknown"))
        for scope_spans in _objects(resource_spans, "scopeSpans"):
            scope = _text(_object(scope_spans, "scope"), "name")
            for span in _objects(scope_spans, "spans"):
                yield _span(span, service=service, resource=resource, scope=scope)


def _span(span: dict[str, Any], *, service: str, resource: Mapping[str, object], scope: str) -> RecordedSpan:
    status = _object(span, "status")
    failed = status.get("code") in _ERROR
    return RecordedSpan(
        trace_id=_id(span, "traceId", 32),
        span_id=_id(span, "spanId", 16),
        parent_id=_parent_id(span),
        name=_text(span, "name"),
        service=service,
        begin_ns=_moment(span, "startTimeUnixNano"),
        end_ns=_moment(span, "endTimeUnixNano"),
        attributes=_attributes(span),
        links=tuple((_id(link, "traceId", 32), _id(link, "spanId", 16)) for link in _objects(span, "links")),
        error=_text(status, "message") if failed else "",
        kind=_kind(span.get("kind")),
        resource=resource,
        scope=scope,
        state=_text(span, "traceState"),
        events=tuple(map(_event, _objects(span, "events"))),
        failed=failed,
    )


def _kind(found: object) -> SpanKind:
    return _KINDS.get(found, "internal") if isinstance(found, str | int) else "internal"


def _event(event: dict[str, Any]) -> Event:
    return Event(_text(event, "name"), _moment(event, "timeUnixNano"), _attributes(event))


# -- fields ------------------------------------------------------------------------------------------------------------


def _objects(parent: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = parent.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise TraceFileError(f"{name}: expected a list of objects, got {_shape(found)}")
    return found


def _object(parent: dict[str, Any], name: str) -> dict[str, Any]:
    found = parent.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise TraceFileError(f"{name}: expected an object, got {_shape(found)}")
    return found


def _text(parent: dict[str, Any], name: str) -> str:
    found = parent.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise TraceFileError(f"{name}: expected text, got {_shape(found)}")
    return found


def _id(parent: dict[str, Any], name: str, digits: int) -> str:
    found = parent.get(name)
    if not isinstance(found, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", found):
        raise TraceFileError(f"{name}: expected {digits} hexadecimal digits, got {_shape(found)}")
    return found.lower()


def _parent_id(span: dict[str, Any]) -> str:
    if not span.get("parentSpanId"):
        return ""
    found = _id(span, "parentSpanId", 16)
    return "" if found == _NO_ID else found


def _moment(parent: dict[str, Any], name: str) -> int:
    found = parent.get(name)
    if isinstance(found, str | int) and not isinstance(found, bool):
        try:
            moment = int(found)
        except ValueError:
            moment = -1
        if 0 <= moment < _MAX_NS:
            return moment
    raise TraceFileError(f"{name}: expected nanoseconds since 1970, got {_shape(found)}")


# -- attributes --------------------------------------------------------------------------------------------------------


def _attributes(parent: dict[str, Any], name: str = "attributes") -> dict[str, object]:
    return {_text(pair, "key"): _value(_object(pair, "value")) for pair in _objects(parent, name)}


def _value(value: dict[str, Any]) -> object:
    """As Python has it. An empty one is None."""
    for kind, read in _READERS.items():
        if kind in value:
            try:
                return read(value[kind])
            except (TypeError, ValueError, OverflowError):
                raise TraceFileError(f"{kind}: got {_shape(value[kind])}") from None
    return None


def _integer(value: object) -> int:
    """Of 64 bits, as the specification has it: who goes on with it may make a float of it."""
    if isinstance(value, str | int) and abs(number := int(value)) <= _MAX_NUMBER:
        return number
    raise TypeError


def _double(value: object) -> float:
    """Also "NaN" and "Infinity", which JSON has no numbers for."""
    if isinstance(value, str | int | float):
        return float(value)
    raise TypeError


def _string(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError


def _array(value: object) -> tuple[object, ...]:
    return tuple(_value(each) for each in _objects(_as_object(value), "values"))


def _map(value: object) -> dict[str, object]:
    return _attributes(_as_object(value), "values")


def _as_object(value: object) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise TypeError


_READERS: Final[Mapping[str, Callable[[Any], object]]] = {
    "stringValue": _string,
    "boolValue": bool,
    "intValue": _integer,
    "doubleValue": _double,
    "arrayValue": _array,
    "kvlistValue": _map,
    "bytesValue": base64.b64decode,
}


# -- what came instead -------------------------------------------------------------------------------------------------


def _shape(found: object) -> str:
    """What came, without telling all of it: it may be long, and it may be what somebody said."""
    match found:
        case dict():
            return f"an object of {', '.join(repr(str(name)[:30]) for name in list(found)[:3]) or 'nothing'}"
        case list():
            return f"a list of {len(found)}"
        case str():
            return f"text of {len(found)} characters"
        case float() if not math.isfinite(found):
            return "no number"
        case _:
            return repr(found)[:30]


def _brief(error: Exception) -> str:
    return "too deeply nested" if isinstance(error, RecursionError) else str(error).partition(":")[0][:80]
