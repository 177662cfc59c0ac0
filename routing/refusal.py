"""Errors on their way over the wire, there and back."""

from __future__ import annotations

import logging

from routing.errors import AtCapacity, BackendError, BackendUnavailable, InvalidRequest, UnsuitedTurn
from routing.wire import Refused

logger = logging.getLogger(__name__)

RETRY_AFTER_SEC = 1.0  # when to come back to a full cloud that does not say


def refusal(attempt: int, error: Exception) -> Refused:
    """What the caller's side is told of an error; ours are told in full, others are for the log."""
    match error:
        case AtCapacity():
            return Refused(attempt, code_of(error), str(error), error.retry_after_sec)
        case BackendError() | InvalidRequest():
            return Refused(attempt, code_of(error), str(error))
    logger.error("a turn broke", exc_info=error)
    return Refused(attempt, code_of(error), "internal error")


def code_of(error: Exception) -> str:
    """What an error is called for machines. It holds nothing of what somebody said."""
    match error:
        case AtCapacity():
            return "at_capacity"
        case BackendUnavailable():
            return "unavailable"
        case InvalidRequest():
            return error.code
    return "failed"


def error_of(refused: Refused) -> BackendError:
    """The error that was told. What the cloud calls an invalid request is a turn that does not suit it."""
    match refused.code:
        case "at_capacity":
            return AtCapacity(refused.message, retry_after_sec=refused.retry_after_sec or RETRY_AFTER_SEC)
        case "unavailable":
            return BackendUnavailable(refused.message)
        case "failed":
            return BackendError(f"{refused.message} ({refused.code})")
    return UnsuitedTurn(f"{refused.message} ({refused.code})")
