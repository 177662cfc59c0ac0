"""Whether the memory in use stays what it is, turn after turn: sessions that come, interrupt, go and come back."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean

from deployments.engine.bench.caller import Listener, ask_until_taken, listen
from deployments.engine.bench.material import speech
from deployments.engine.bench.memory_peak import own_bytes
from deployments.engine.engine import Engine
from routing.turns import HistoryItem, Message

CALLERS = 8  # at once; each of them has several sessions, together more than there are slots
SESSIONS_EACH = 4
SPEECH_SEC = (0.3, 1.5)
LONGEST_FRAMES = 18  # of a reply; most are cut before
REMEMBERED_MESSAGES = 6
NEW_SESSION_CHANCE = 0.1
MEBI = 1 << 20
BLOCK = 100  # turns whose memory is taken together


@dataclass(frozen=True, slots=True)
class EnduranceReport:
    """Memory of the process, the mean of each hundred turns."""

    turns: int
    mebibytes: tuple[float, ...]

    @property
    def growth_mebibytes(self) -> float:
        """From the first hundred to the last. Caches fill in the first ones: what is prepared for a prompt's length."""
        return self.mebibytes[-1] - self.mebibytes[0]

    @property
    def late_growth_mebibytes(self) -> float:
        """Of it, what came in the second half: a leak goes on."""
        return self.mebibytes[-1] - self.mebibytes[len(self.mebibytes) // 2]

    def as_json(self) -> dict[str, object]:
        growth = {"growth_mebibytes": self.growth_mebibytes, "late_growth_mebibytes": self.late_growth_mebibytes}
        return asdict(self) | growth


@dataclass(slots=True)
class _Session:
    """What the edge remembers of one."""

    name: str
    history: deque[HistoryItem] = field(default_factory=lambda: deque(maxlen=REMEMBERED_MESSAGES))


async def measure_endurance(engine: Engine, turns: int, tell: Callable[[int, float], None]) -> EnduranceReport:
    """So many turns through ``engine``, which is entered and closed here; ``tell`` hears of the memory after each."""
    taken: list[float] = []
    numbers = iter(range(turns))

    async def after_turn() -> None:
        taken.append(await asyncio.to_thread(own_bytes) / MEBI)
        tell(len(taken), taken[-1])

    async with engine, asyncio.TaskGroup() as group:
        for caller in range(CALLERS):
            group.create_task(_call_again(engine, caller, numbers, after_turn))
    return EnduranceReport(len(taken), tuple(map(fmean, _blocks(taken))))


def _blocks(values: Sequence[float]) -> Iterator[Sequence[float]]:
    for start in range(0, len(values), BLOCK):
        yield values[start : start + BLOCK]


async def _call_again(
    engine: Engine, caller: int, numbers: Iterator[int], after_turn: Callable[[], Awaitable[None]]
) -> None:
    """One caller's turns, now in one session and now in another, some of them for the first time."""
    chance = random.Random(caller)
    sessions = [_Session(f"caller {caller}, {number}") for number in range(SESSIONS_EACH)]
    for number in numbers:
        session = chance.choice(sessions)
        if chance.random() < NEW_SESSION_CHANCE:
            session.name, session.history = f"{session.name}, {number}", deque(maxlen=REMEMBERED_MESSAGES)
        await _turn(engine, session, chance)
        await after_turn()


async def _turn(engine: Engine, session: _Session, chance: random.Random) -> None:
    """One turn, interrupted after some frames; what was said becomes history."""
    said = speech(chance.uniform(*SPEECH_SEC), seed=chance.randrange(1 << 30))
    listener = Listener(time.perf_counter())
    answer = await ask_until_taken(engine, session.name, said, tuple(session.history))
    await listen(answer, listener, frames=chance.randint(1, LONGEST_FRAMES))
    session.history += [Message("user", "…"), Message("assistant", listener.text)]
