"""What the HTTP surface takes and answers, as an OpenAPI document: ``/openapi.json``.

Written by hand, because offers are no JSON and most answers come before the application is asked. That it is true is
held by `tests/test_openapi.py`, against the routes and against a running edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastapi import FastAPI

from edge_client.realtime.session_config import Json

PATH = "/openapi.json"

_CREDENTIALS: Final[list[Json]] = [
    {"apiKey": []},
    {"clientSecret": []},
    {},
]  # the last: in development mode nobody needs one
_OPERATOR: Final[list[Json]] = [{"apiKey": []}, {}]

_FAULTS: Final[Mapping[int, str]] = {
    400: "The request is malformed, or cannot be honoured.",
    401: "The credential is missing, unknown, expired or used up.",
    404: "There is no such call.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    429: "This address, or this key, asks too often or has too many sessions.",
    503: "All places are taken, or the edge is draining.",
}


def add_description(app: FastAPI) -> None:
    """Serve the document."""

    async def description() -> Json:
        return DOCUMENT

    app.get(PATH)(description)


# -- parts -------------------------------------------------------------------------------------------------------------


def _json(schema: Json, description: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _object(*required: str, **properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(required)}


def _fault(status: int) -> Json:
    answer = {
        "description": _FAULTS[status],
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Fault"}}},
    }
    if status in (429, 503):
        wait = {"description": "Seconds to wait before the next attempt.", "schema": {"type": "integer", "minimum": 0}}
        answer["headers"] = {"Retry-After": wait}
    return answer


def _answers(ok: Mapping[int, Json], *faults: int) -> Json:
    return {str(status): answer for status, answer in ok.items()} | {str(status): _fault(status) for status in faults}


def _header(name: str, description: str) -> Json:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


# -- operations --------------------------------------------------------------------------------------------------------

_TEXT: Final[Json] = {"type": "string"}
_SDP: Final[Json] = {"type": "string", "description": "A session description (RFC 8866)", "example": "v=0\r\n"}
_SESSION: Final[Json] = {"type": "object", "description": "Session settings, as in `session.update`"}
_CALL_ID: Final[Json] = {"name": "call_id", "in": "path", "required": True, "schema": {"type": "string"}}

_BEGIN_CALL: Final[Json] = {
    "operationId": "beginCall",
    "summary": "Offer a call over WebRTC, go on with one on another connection, or with a session of another edge",
    "security": _CREDENTIALS,
    "parameters": [
        _header("Antiphon-Resume", "The token of a call: it goes on over the connection that is offered."),
        _header("Antiphon-Last-Event", "With it, the id of the last event that came."),
        _header("traceparent", "W3C trace context that the connection belongs to."),
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/sdp": {"schema": _SDP},
            "multipart/form-data": {"schema": _object("sdp", sdp=_SDP, session=_SESSION, ticket=_TEXT)},
        },
    },
    "responses": _answers(
        {
            201: {
                "description": "The answer.",
                "content": {"application/sdp": {"schema": _TEXT}},
                "headers": {
                    "Location": {"description": "The call, whose last part is its id.", "schema": _TEXT},
                    "Antiphon-Resume": {"description": "The token that resumes it.", "schema": _TEXT},
                    "X-Trace-Id": {"description": "The trace of the connection.", "schema": _TEXT},
                },
            }
        },
        *(400, 401, 404, 408, 413, 429, 503),
    ),
}


def _hang_up(operation_id: str) -> Json:
    return {
        "operationId": operation_id,
        "summary": "Hang up",
        "security": _CREDENTIALS,
        "parameters": [_CALL_ID],
        "responses": _answers({200: {"description": "It ends."}}, 400, 401, 404, 408, 413, 429, 503),
    }


_ICE_SERVERS: Final[Json] = {
    "operationId": "iceServers",
    "summary": "TURN servers, with credentials that last a while",
    "security": _CREDENTIALS,
    "responses": _answers(
        {
            200: _json(
                _object(
                    "ice_servers",
                    "expires_at",
                    ice_servers={
                        "type": "array",
                        "items": _object(
                            *("urls", "username", "credential"),
                            urls={"type": "array", "items": _TEXT},
                            username=_TEXT,
                            credential=_TEXT,
                        ),
                    },
                    expires_at={"type": ["integer", "null"]},
                ),
                "For `RTCConfiguration`; none where the edge has none.",
            )
        },
        *(400, 401, 408, 413, 429),
    ),
}

_CREATE_SECRET: Final[Json] = {
    "operationId": "createClientSecret",
    "summary": "A short-lived key for a browser, which begins one call",
    "security": _OPERATOR,
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": _object(
                    expires_after=_object(
                        anchor={"type": "string", "default": "created_at"},
                        seconds={"type": "integer", "minimum": 10, "maximum": 7200, "default": 600},
                    ),
                    session=_SESSION,
                )
            }
        },
    },
    "responses": _answers(
        {
            200: _json(
                _object(
                    "value", "expires_at", "session", value=_TEXT, expires_at={"type": "integer"}, session=_SESSION
                ),
                "The secret.",
            )
        },
        *(400, 401, 408, 413, 429),
    ),
}

_STATISTICS: Final[Json] = {
    "operationId": "statistics",
    "summary": "How the edge is doing, per worker and in all",
    "security": _OPERATOR,
    "parameters": [
        {
            "name": "sweep",
            "in": "query",
            "required": False,
            "description": "Sweep memory before it is looked at.",
            "schema": {"type": "boolean", "default": False},
        }
    ],
    "responses": _answers({200: _json({"type": "object"}, "Figures.")}, 400, 401, 408, 413, 429),
}

_HEALTHY: Final[Json] = {
    "operationId": "healthy",
    "summary": "Whether the edge lives",
    "security": [],
    "responses": _answers(
        {200: _json(_object("status", "sessions", status=_TEXT, sessions={"type": "integer"}), "It does.")}, 408, 413
    ),
}

_READY: Final[Json] = {
    "operationId": "ready",
    "summary": "Whether a caller would find a place",
    "security": [],
    "responses": _answers(
        {
            200: _json(_object("status", status=_TEXT), "One would."),
            503: _json(_object("status", status=_TEXT), "None would; the status says why."),
        },
        *(408, 413),
    ),
}

_METRICS: Final[Json] = {
    "operationId": "metrics",
    "summary": "All metrics, for Prometheus",
    "security": _OPERATOR,
    "responses": _answers(
        {
            200: {
                "description": "In the form that is asked for.",
                "content": {"text/plain": {"schema": _TEXT}, "application/openmetrics-text": {"schema": _TEXT}},
            }
        },
        *(401, 408, 413, 429),
    ),
}

_DESCRIPTION: Final[Json] = {
    "operationId": "description",
    "summary": "This document",
    "security": [],
    "responses": _answers({200: _json({"type": "object"}, "OpenAPI 3.1.")}, 408, 413),
}

_FAULT: Final[Json] = _object(
    "error",
    error=_object(
        *("type", "code", "message", "param"),
        type=_TEXT,
        code={"type": ["string", "null"]},
        message=_TEXT,
        param={"type": ["string", "null"]},
    ),
)

DOCUMENT: Final[Json] = {
    "openapi": "3.1.0",
    "info": {
        "title": "Antiphon edge",
        "version": "1",
        "description": "Calls over WebRTC, in the OpenAI Realtime protocol. Over WebSocket it is at `/v1/realtime`.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    },
    "paths": {
        "/v1/realtime/calls": {"post": _BEGIN_CALL},
        "/v1/realtime/calls/{call_id}/hangup": {"post": _hang_up("hangUp")},
        "/v1/realtime/calls/{call_id}": {"delete": _hang_up("deleteCall")},
        "/v1/realtime/ice_servers": {"get": _ICE_SERVERS},
        "/v1/realtime/client_secrets": {"post": _CREATE_SECRET},
        "/v1/statistics": {"get": _STATISTICS},
        "/healthz": {"get": _HEALTHY},
        "/readyz": {"get": _READY},
        "/metrics": {"get": _METRICS},
        PATH: {"get": _DESCRIPTION},
    },
    "components": {
        "schemas": {"Fault": _FAULT},
        "securitySchemes": {
            "apiKey": {"type": "http", "scheme": "bearer", "description": "One of the operator's own keys."},
            "clientSecret": {"type": "http", "scheme": "bearer", "description": "`ek_…`: may begin one call."},
        },
    },
}
