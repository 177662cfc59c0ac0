"""Checks, and how they are made: at once where they do not disturb each other, none for longer than it may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from edge_client.doctor.finding import Finding, fault, warning

LIMIT_SEC = 10.0

type Look = Callable[[], Awaitable[Iterable[Finding]]]
type Tell = Callable[[Finding], None]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at; ``look`` may raise, and may wait for as long as it likes: here it is bounded."""

    about: str
    look: Look
    limit_sec: float = LIMIT_SEC


async def examine(
    groups: Iterable[Sequence[Check]], *, tell: Tell, progress: Callable[[str], None] = lambda line: None
) -> list[Finding]:
    """Make all checks, those of a group at once, and return what was found, in the order of the checks.

    ``tell`` hears of each finding as soon as those before it are there, and ``progress`` what is waited for.
    """
    found: list[Finding] = []
    for group in groups:
        async with asyncio.TaskGroup() as tasks:
            made = [tasks.create_task(_made(check)) for check in group]
            for check, task in zip(group, made, strict=True):
                progress(f"looking at: {check.about}")
                for finding in await task:
                    found.append(finding)
                    tell(finding)
    return found


async def _made(check: Check) -> list[Finding]:
    try:
        async with asyncio.timeout(check.limit_sec):
            return list(await check.look())
    except TimeoutError:
        return [_too_slow(check)]
    except Exception as exc:  # noqa: BLE001 (one check that stumbles must not take the others with it)
        return [_stumbled(check, exc)]


def _too_slow(check: Check) -> Finding:
    return fault(
        check.about,
        "none",
        expected=f"an answer within {check.limit_sec:g} s",
        advice="Something on the way neither answers nor refuses: look for a firewall, a full disk or a busy machine.",
    )


def _stumbled(check: Check, error: Exception) -> Finding:
    return warning(
        check.about,
        f"{type(error).__name__}: {error}",
        expected="to be able to look",
        advice="The check itself has failed, which says nothing about the edge: look at this by hand.",
    )
