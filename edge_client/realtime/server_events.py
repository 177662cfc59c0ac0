"""What the server sends: functions that build each event of the protocol from Antiphon's own words."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from edge_client.conversation import Item, MessageItem, ToolCallItem, ToolResultItem, new_id
from edge_client.realtime.faults import error_body
from edge_client.realtime.session_config import Json
from edge_client.session_events import (
    ReplyDone,
    ReplyItemDone,
    ReplyItemStarted,
    ReplyText,
    ReplyToolCall,
    TurnReport,
    TurnTraced,
)
from routing.errors import InvalidRequest
from routing.telemetry.finished_span import FinishedSpan
from routing.turns import Placement


def event(type_: str, **fields: Any) -> Json:
    """Any event: its type, a fresh id, and its fields."""
    return {"type": type_, "event_id": new_id("event"), **fields}


def error_event(fault: InvalidRequest, *, client_event_id: str | None) -> Json:
    body = error_body(str(fault), code=fault.code, param=fault.param)
    return event("error", error=body | {"event_id": client_event_id})


# -- items -----------------------------------------------------------------------------------------------------------


def wire_item(item: Item) -> Json:
    match item:
        case MessageItem():
            return _envelope(item, "message") | {"role": item.role, "content": _content(item)}
        case ToolCallItem(call=call):
            fields = {"call_id": call.call_id, "name": call.name, "arguments": call.arguments}
            return _envelope(item, "function_call") | fields
        case ToolResultItem(result=result):
            return _envelope(item, "function_call_output") | {
                "call_id": result.call_id,
                "output": result.output,
            }


def _envelope(item: Item, type_: str) -> Json:
    return {"id": item.id, "object": "realtime.item", "type": type_, "status": item.status}


def _content(item: MessageItem) -> list[Json]:
    if item.status == "in_progress":
        return []
    match item.role, item.medium:
        case "assistant", "audio":
            return [{"type": "output_audio", "transcript": item.text or ""}]
        case "assistant", "text":
            return [{"type": "output_text", "text": item.text or ""}]
        case "user", "audio":
            return [{"type": "input_audio", "transcript": item.text}]  # the key must be there: SDKs crash without
        case _:
            return [{"type": "input_text", "text": item.text or ""}]


def item_added(item: Item, previous_item_id: str | None) -> Json:
    return event("conversation.item.added", previous_item_id=previous_item_id, item=wire_item(item))


def item_done(item: Item, previous_item_id: str | None) -> Json:
    return event("conversation.item.done", previous_item_id=previous_item_id, item=wire_item(item))


# -- replies ---------------------------------------------------------------------------------------------------------


def response(reply_id: str, status: str, **fields: Any) -> Json:
    empty: Json = {"output": [], "usage": None, "metadata": None, "status_details": None}
    return {"object": "realtime.response", "id": reply_id, "status": status, **empty, **fields}


def place(reply_id: str, item: Item, index: int) -> Json:
    """The fields that say where in a reply an event belongs."""
    return {"response_id": reply_id, "item_id": item.id, "output_index": index, "content_index": 0}


def content_part(item: MessageItem) -> Json:
    """A part as ``content_part`` events show it, which is not how items do."""
    if item.medium == "audio":
        return {"type": "audio", "transcript": item.text or ""}
    return {"type": "text", "text": item.text or ""}


def item_finished(done: ReplyItemDone, previous_item_id: str | None) -> Iterator[Json]:
    """A message of the reply is complete, from its innermost part outward."""
    where = place(done.reply_id, done.item, done.index)
    text = done.item.text or ""
    if done.item.medium == "audio":
        yield event("response.output_audio.done", **where)
        yield event("response.output_audio_transcript.done", **where, transcript=text)
    else:
        yield event("response.output_text.done", **where, text=text)
    yield event("response.content_part.done", **where, part=content_part(done.item))
    yield _output_item("response.output_item.done", done.reply_id, done.item, done.index)
    yield item_done(done.item, previous_item_id)


def _output_item(type_: str, reply_id: str, item: Item, index: int) -> Json:
    return event(type_, response_id=reply_id, output_index=index, item=wire_item(item))


def item_started(started: ReplyItemStarted, previous_item_id: str | None) -> Iterator[Json]:
    item = started.item
    yield _output_item("response.output_item.added", started.reply_id, item, started.index)
    yield item_added(item, previous_item_id)
    yield event("response.content_part.added", **place(started.reply_id, item, started.index), part=content_part(item))


def text_delta(text: ReplyText) -> Json:
    kind = "output_audio_transcript" if text.item.medium == "audio" else "output_text"
    return event(f"response.{kind}.delta", **place(text.reply_id, text.item, text.index), delta=text.delta)


def tool_called(called: ReplyToolCall) -> Iterator[Json]:
    item, call = called.item, called.item.call
    where = {"response_id": called.reply_id, "item_id": item.id, "output_index": called.index}
    yield _output_item("response.output_item.added", called.reply_id, item, called.index)
    yield item_added(item, called.previous_item_id)
    yield event("response.function_call_arguments.delta", **where, call_id=call.call_id, delta=call.arguments)
    yield event(
        "response.function_call_arguments.done",
        **where,
        call_id=call.call_id,
        name=call.name,
        arguments=call.arguments,
    )
    yield _output_item("response.output_item.done", called.reply_id, item, called.index)
    yield item_done(item, called.previous_item_id)


def response_done(done: ReplyDone) -> Json:
    """The end of a reply. Our own account of the turn travels in ``antiphon``, which every client ignores or shows."""
    usage = {
        "input_tokens": done.input_tokens,
        "output_tokens": done.output_tokens,
        "total_tokens": done.input_tokens + done.output_tokens,
    }
    body = response(
        done.reply_id,
        done.status,
        output=[wire_item(item) for item in done.items],
        usage=usage,
        status_details=_status_details(done),
    )
    return event("response.done", response=body, antiphon={"turn": _report(done.report)})


def _status_details(done: ReplyDone) -> Json | None:
    match done.status:
        case "cancelled":
            return {"type": "cancelled", "reason": done.cut_reason}
        case "failed":
            fault = {"type": "server_error", "code": "backend_error", "message": done.error}
            return {"type": "failed", "error": fault}
        case _:
            return None


def _report(report: TurnReport) -> Json:
    return {
        "index": report.index,
        "turn_id": report.turn_id,
        "trace_id": report.trace_id or None,
        "timings_ms": {name: round(wait, 1) for name, wait in report.timings_ms.items()},
        "placement": _placed(report),
        "end_reason": report.end_reason,
    }


def _placed(report: TurnReport) -> Json | None:
    """Who answered and why; of what was expected the wait is part that had passed when it was decided."""
    where = report.placement
    if where is None:
        return None
    waited_ms = report.timings_ms.get("endpoint_wait", 0.0)
    return {
        **_speaker(where),
        "predicted_ms": {name: round(waited_ms + sec * 1000, 1) for name, sec in where.predicted_sec.items()},
        "switches": [_speaker(switch) for switch in report.switches],
    }


def _speaker(placement: Placement) -> Json:
    return {"backend": placement.backend, "reason": placement.reason}


# -- sound -----------------------------------------------------------------------------------------------------------


def audio_delta(where: Json, sound: bytes) -> Json:
    return event("response.output_audio.delta", **where, delta=base64.b64encode(sound).decode("ascii"))


# -- what a caller of an Antiphon may ask for --------------------------------------------------------------------------


def clock_pong(client_ms: float, server_ms: float) -> Json:
    return event("antiphon.clock.pong", client_ms=client_ms, server_ms=server_ms)


def turn_traced(traced: TurnTraced) -> Json:
    """The spans of a turn, in milliseconds from the last sample of speech on."""
    return event(
        "antiphon.turn.traced",
        turn_id=traced.turn_id,
        trace_id=traced.trace_id,
        origin_ms=round(traced.origin_ns / 1e6, 3),
        spans=[_span(span, traced.origin_ns) for span in traced.spans],
    )


def _span(span: FinishedSpan, origin_ns: int) -> Json:
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "service": span.service,
        "begin_ms": round((span.begin_ns - origin_ns) / 1e6, 3),
        "duration_ms": round(span.duration_ms, 3),
        "attributes": dict(span.attributes),
        "error": span.error,
    }
