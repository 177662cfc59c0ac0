"""Log lines on stderr: as text for a terminal, or as JSON that says which turn of which trace it was about."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

from routing.telemetry.error_text import error_text
from routing.telemetry.phase import Carrier

type LogForm = Literal["text", "json"]
type ErrorInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

# What these say below a warning holds addresses (aioice, uvicorn), keys in addresses (httpx), descriptions of sessions
# (aiortc), or what people say (websockets, openai).
RESERVED = (
    "aioice",
    "aiortc",
    "asyncio",
    "fastapi",
    "httpcore",
    "httpx",
    "libav",
    "openai",
    "opentelemetry",
    "python_multipart",
    "urllib3",
    "uvicorn",
    "websockets",
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a line is about; empty where it is about no turn."""

    trace_id: str = ""
    span_id: str = ""
    turn_id: str = ""
    session_id: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """Those that there are."""
        pairs = {
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "turn_id": self.turn_id,
            "session_id": self.session_id,
        }
        return {name: value for name, value in pairs.items() if value}


_subject: ContextVar[Subject] = ContextVar("subject", default=Subject())  # noqa: B039  (it is frozen)


def speak_of_turn(carrier: Carrier, *, turn_id: str, session_id: str) -> None:
    """From now on this task, and what it starts, is about that turn; for tasks that serve one turn and end with it."""
    _subject.set(_about(carrier, turn_id, session_id))


def log_to_stderr(level: int, form: LogForm = "text", *, worker: int | None = None) -> None:
    """Write the lines of this process to stderr, Python's warnings too, unless they go somewhere already.

    Args:
        worker: which of several processes of one program this is
    """
    if logging.root.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(worker) if form == "json" else TextLines(worker))
    logging.basicConfig(level=level, handlers=[handler])
    logging.captureWarnings(True)
    keep_reserved()


def form_in_use() -> LogForm:
    """How this process writes its lines."""
    return "json" if any(isinstance(handler.formatter, JsonLines) for handler in logging.root.handlers) else "text"


def keep_reserved() -> None:
    """Have libraries speak of what went wrong only, unless somebody set their level."""
    for name in RESERVED:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)


class TextLines(logging.Formatter):
    """One line for people, with the turn and the trace at its end where there are any."""

    def __init__(self, worker: int | None = None) -> None:
        whose = "" if worker is None else f"worker {worker} "
        super().__init__(f"%(asctime)s %(levelname)s {whose}%(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (of the base class)
        subject = _subject.get()
        ids = [f"{kind} {value}" for kind, value in (("turn", subject.turn_id), ("trace", subject.trace_id)) if value]
        return super().formatMessage(record) + (f" ({', '.join(ids)})" if ids else "")

    def formatException(self, ei: ErrorInfo) -> str:  # noqa: N802  (of the base class)
        return error_text(ei[1]) if ei[1] is not None else ""


class JsonLines(logging.Formatter):
    """One JSON object in one line: time (UTC), level, logger and message; ids and an error where there are any."""

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._worker: dict[str, object] = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._worker,
            **_subject.get().fields,
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = _error(record.exc_info[1])
        return json.dumps(line)


def _about(carrier: Carrier, turn_id: str, session_id: str) -> Subject:
    match carrier.get("traceparent", "").split("-"):
        case [_, trace_id, span_id, *_]:
            return Subject(trace_id, span_id, turn_id, session_id)
        case _:
            return Subject(turn_id=turn_id, session_id=session_id)


def _error(error: BaseException) -> dict[str, str]:
    return {"type": type(error).__qualname__, "traceback": error_text(error)}
