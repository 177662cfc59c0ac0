"""What is wrong with a server, in Antiphon's own words: each fault becomes a `BackendError`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from websockets.exceptions import InvalidStatus

from routing.errors import AtCapacity, BackendError, BackendUnavailable

RETRY_AFTER_SEC = 5.0  # where a full server does not say how long
LONGEST_MESSAGE = 300  # characters of what a server says
FULL = {"rate_limit_exceeded", "rate_limit_error", "at_capacity", "overloaded"}
AWAY = {"insufficient_quota", "session_expired"}
ABOUT_THE_KEY = {"invalid_api_key", "authentication_error"}  # its message may repeat it
TRY_AGAIN_LATER = 1013  # of WebSocket


def from_connecting(error: Exception) -> BackendError:
    """Why there is no connection."""
    if isinstance(error, InvalidStatus):
        return _from_status(error)
    if isinstance(error, TimeoutError):
        return BackendUnavailable("the server did not answer the connection in time")
    return BackendUnavailable(f"the server cannot be reached: {type(error).__name__}")


def _from_status(error: InvalidStatus) -> BackendError:
    answer = error.response
    message = f"the server refused the connection with HTTP {answer.status_code}"
    match answer.status_code:
        case 429 | 503:
            return AtCapacity(message, retry_after_sec=_retry_after(answer.headers))
        case 401 | 403:
            return BackendError(f"{message}: the key is not accepted")
        case status if status >= 500:
            return BackendUnavailable(message)
    return BackendError(f"{message}: {_message(answer.body)}")


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(headers.get("Retry-After", RETRY_AFTER_SEC)))
    except ValueError:  # a date
        return RETRY_AFTER_SEC


def _message(body: bytes | bytearray | None) -> str:
    try:
        return _shortened(json.loads(body or b"")["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return "no reason given"


def from_closing(code: int | None) -> BackendError:
    """Why a connection that was there is there no more."""
    if code == TRY_AGAIN_LATER:
        return AtCapacity("the server is full, and closed the connection", retry_after_sec=RETRY_AFTER_SEC)
    return BackendUnavailable(f"the server closed the connection with the code {code} before the reply was complete")


def from_error(error: Any) -> BackendError:
    """What an error object of the protocol says."""
    told = error if isinstance(error, dict) else {}
    names = {told.get("code"), told.get("type")} - {None}
    message = f"the server reported an error: {_shortened(told.get('message') or 'no reason given')}"
    if names & ABOUT_THE_KEY:
        return BackendError("the server reported an error: the key is not accepted")
    if names & FULL:
        return AtCapacity(message, retry_after_sec=RETRY_AFTER_SEC)
    return BackendUnavailable(message) if names & AWAY else BackendError(message)


def from_response(response: Mapping[str, Any]) -> BackendError:
    """Why a reply ended before it was complete."""
    details = response.get("status_details")
    match details:
        case {"error": dict(error)}:
            return from_error(error)
        case {"reason": str(reason)}:
            return BackendError(f"the server ended the reply as {response.get('status')}: {_shortened(reason)}")
    return BackendError(f"the server ended the reply as {response.get('status')}, and gave no reason")


def broken(expected: str, got: str) -> BackendError:
    """It does not keep to the protocol."""
    return BackendError(f"expected {expected} of the server, got {_shortened(got)}")


def _shortened(text: object) -> str:
    return str(text)[:LONGEST_MESSAGE]
