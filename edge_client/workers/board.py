"""How busy each worker is, in memory that all workers of one edge share."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass

FRESH_SEC = 2.0  # a worker that has written nothing for longer is starting, stuck or dead
_SLOT = struct.Struct("=qqd")  # sessions, places, when it was written


@dataclass(frozen=True, slots=True)
class Load:
    """What one worker does."""

    worker: int
    sessions: int
    places: int

    @property
    def free(self) -> int:
        return self.places - self.sessions


class Board:
    """One slot per worker, which only that worker writes. `close` frees the memory.

    Nobody waits for anybody: who reads while another writes may see an old number beside a new one, and the next look
    mends that. ``now`` is the monotonic clock, which all processes of a machine share.
    """

    def __init__(self, descriptor: int, workers: int) -> None:
        self._memory = mmap.mmap(descriptor, workers * _SLOT.size)
        self._workers = workers

    @staticmethod
    def size(workers: int) -> int:
        """Of the file that ``descriptor`` leads to, in bytes; it must hold zeros."""
        return workers * _SLOT.size

    def write(self, load: Load, *, now: float) -> None:
        _SLOT.pack_into(self._memory, load.worker * _SLOT.size, load.sessions, load.places, now)

    def clear(self, worker: int) -> None:
        """This one has gone."""
        self.write(Load(worker, 0, 0), now=0.0)

    def loads(self, *, now: float) -> list[Load]:
        """Those that wrote of late, by their number."""
        slots = ((worker, *_SLOT.unpack_from(self._memory, worker * _SLOT.size)) for worker in range(self._workers))
        return [
            Load(worker, sessions, places)
            for worker, sessions, places, written in slots
            if places and now - written <= FRESH_SEC
        ]

    def silence_sec(self, worker: int, *, now: float) -> float:
        """How long this one has written nothing; 0 for one that is gone, or has not begun."""
        _, _, written = _SLOT.unpack_from(self._memory, worker * _SLOT.size)
        return now - written if written else 0.0

    def close(self) -> None:
        self._memory.close()
