"""Spans as lines of OTLP-JSON: what Jaeger's page opens as an upload, and what `antiphon trace` reads."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan

from routing.errors import SettingsError
from routing.telemetry.batches import NotTaken

MEBIBYTE = 1024 * 1024


class JsonFile:
    """A file that grows by a line per batch, as an `Outlet`. Only its owner may read it.

    Several processes may write to one file: each line is one write at its end, and the file is opened anew for each,
    so that none goes on writing to what another has moved away. Before it grows beyond ``mebibytes`` it is moved to
    ``<file>.1``, in the place of the one that was there.

    Raises:
        SettingsError: nothing can be written there.
    """

    def __init__(self, path: Path, *, mebibytes: int) -> None:
        self.name = f"The file {path}"
        self._path = path
        self._limit = mebibytes * MEBIBYTE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened():
                pass
        except OSError as error:
            raise SettingsError(f"telemetry.file: expected a file that can be written, got {path}: {error}") from error

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        line = json.dumps(encode_spans(spans).to_dict(), separators=(",", ":")).encode() + b"\n"
        try:
            self._append(line)
        except OSError as error:
            raise NotTaken(str(error)) from error

    def close(self) -> None:
        """Nothing is held open."""

    def _append(self, line: bytes) -> None:
        with self._locked() as descriptor:
            size = os.fstat(descriptor).st_size
            if not size or size + len(line) <= self._limit:
                _write_whole(descriptor, line, at=size)
                return
            path = os.path.realpath(self._path)  # a link stays where it is, and goes on leading to the newest
            os.replace(path, f"{path}.1")  # noqa: PTH105
        with self._locked() as descriptor:
            _write_whole(descriptor, line, at=os.fstat(descriptor).st_size)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file as it is called now: while one waited for it, another may have moved it away."""
        while True:
            with self._opened() as descriptor:
                _lock(descriptor)
                if self._is(descriptor):
                    yield descriptor
                    return

    def _is(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    @contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NEVER_WAIT, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _write_whole(descriptor: int, line: bytes, *, at: int) -> None:
    """A line is there or it is not: a disk that fills up in its middle leaves none that nobody can read."""
    written = os.write(descriptor, line)
    if written < len(line):
        os.ftruncate(descriptor, at)
        raise OSError(f"only {written} of {len(line)} bytes found a place")


if sys.platform == "win32":
    _NEVER_WAIT = 0

    def _lock(descriptor: int) -> None:
        """There a file that others have open cannot be moved anyway."""
else:
    import fcntl

    _NEVER_WAIT = os.O_NONBLOCK  # for somebody who reads, if it is a pipe

    def _lock(descriptor: int) -> None:
        """Wait for whoever writes to it; let go of it by closing it."""
        fcntl.flock(descriptor, fcntl.LOCK_EX)
