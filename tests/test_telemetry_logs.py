"""A log line says which turn it was about, and libraries are silent about what passes through them."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextvars import copy_context

import pytest

from routing.telemetry.logs import JsonLines, TextLines, keep_reserved, speak_of_turn

TRACE = "0af7651916cd43dd8448eb211c80319c"
CARRIER = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-03"}

SAID = "the secret phrase"

PROGRAM = """
import logging, warnings
from routing.telemetry.logs import log_to_stderr
log_to_stderr(logging.INFO, "json", worker=3)
log_to_stderr(logging.INFO, "text")
logging.getLogger("aioice").info("203.0.113.7 is a candidate")
logging.getLogger("antiphon").info("begun")
logging.getLogger("uvicorn.error").error("fell over")
warnings.warn("old")
"""


class Kept(logging.Handler):
    """Remembers lines as they would be written."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def kept(request: pytest.FixtureRequest) -> Iterator[Kept]:
    logger = logging.getLogger("antiphon.lines")
    logger.setLevel(logging.DEBUG)
    handler = Kept(getattr(request, "param", None) or JsonLines())
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def write(message: str) -> None:
    logging.getLogger("antiphon.lines").info(message)


def write_of_turn(message: str) -> None:
    speak_of_turn(CARRIER, turn_id="turn_1", session_id="sess_1")
    write(message)


def test_a_line_says_which_turn_of_which_trace_it_is_about(kept: Kept) -> None:
    copy_context().run(write_of_turn, "within")
    write("after")
    within, after = (json.loads(line) for line in kept.lines)
    assert {name: within[name] for name in within if name != "time"} == {
        "level": "INFO",
        "logger": "antiphon.lines",
        "message": "within",
        "trace_id": TRACE,
        "span_id": "b7ad6b7169203331",
        "turn_id": "turn_1",
        "session_id": "sess_1",
    }
    assert after.keys() == {"time", "level", "logger", "message"}


async def test_tasks_and_threads_that_serve_a_turn_speak_of_it_and_others_do_not(kept: Kept) -> None:
    async def serve(turn_id: str) -> None:
        speak_of_turn({}, turn_id=turn_id, session_id="sess_1")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.to_thread(write, f"thread of {turn_id}"))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve("turn_1"))
        tasks.create_task(serve("turn_2"))
    write("outside")
    said = {line["message"]: line.get("turn_id") for line in map(json.loads, kept.lines)}
    assert said == {"thread of turn_1": "turn_1", "thread of turn_2": "turn_2", "outside": None}


def test_an_error_is_told_in_the_same_line(kept: Kept) -> None:
    try:
        raise OSError("no room\nleft")
    except OSError:
        logging.getLogger("antiphon.lines").exception("stumbled over %s", "a line\nbreak \x1b[31m")
    [line] = kept.lines
    assert line.isascii()
    assert line.isprintable()
    told = json.loads(line)
    assert told["message"] == "stumbled over a line\nbreak \x1b[31m"
    assert told["error"]["type"] == "OSError"
    assert told["error"]["traceback"].endswith("OSError: no room\nleft")


@pytest.mark.parametrize("kept", [TextLines(), JsonLines()], indirect=True)
def test_an_error_that_quotes_what_somebody_said_is_told_without_it(kept: Kept) -> None:
    try:
        raise ExceptionGroup("a turn fell over", [ValueError(SAID), OSError("no room")])
    except ExceptionGroup as group:
        try:
            raise KeyError(SAID) from group
        except KeyError:
            logging.getLogger("antiphon.lines").exception("stumbled")
    [line] = kept.lines
    assert SAID not in line
    for told in (
        "a turn fell over",
        "  ValueError: (it may",
        "  OSError: no room",
        "which led to",
        "KeyError: (it may",
    ):
        assert told in line


@pytest.mark.parametrize("kept", [TextLines()], indirect=True)
def test_a_line_for_people_ends_with_the_turn_and_its_trace(kept: Kept) -> None:
    copy_context().run(write_of_turn, "within")
    write("after")
    assert kept.lines[0].endswith(f"INFO antiphon.lines: within (turn turn_1, trace {TRACE})")
    assert kept.lines[1].endswith("INFO antiphon.lines: after")


def test_libraries_speak_of_what_went_wrong_only_unless_somebody_set_their_level() -> None:
    reserved, opened = logging.getLogger("aioice"), logging.getLogger("httpx")
    before = reserved.level, opened.level
    try:
        reserved.setLevel(logging.NOTSET)
        opened.setLevel(logging.DEBUG)
        keep_reserved()
        assert (reserved.level, opened.level) == (logging.WARNING, logging.DEBUG)
    finally:
        reserved.setLevel(before[0])
        opened.setLevel(before[1])


def test_one_program_writes_all_its_lines_in_one_form() -> None:
    written = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True).stderr
    lines = [json.loads(line) for line in written.splitlines()]
    assert [(line["logger"], line["worker"]) for line in lines] == [
        ("antiphon", 3),
        ("uvicorn.error", 3),
        ("py.warnings", 3),
    ]
