"""How a fault is told: the one error object of the protocol, and HTTP answers that hold it."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse

from edge_client.realtime.session_config import Json


def error_body(
    message: str, *, code: str | None, param: str | None = None, kind: str = "invalid_request_error"
) -> Json:
    """The error object that events and HTTP answers share."""
    return {"type": kind, "code": code, "message": message, "param": param}


def error_response(status: int, body: Json, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": body}, status, headers)
