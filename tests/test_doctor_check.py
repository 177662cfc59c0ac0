"""Checks are made at once and told in order; one that hangs or stumbles is told, and holds up nobody."""

from __future__ import annotations

import asyncio

from edge_client.doctor.check import Check, examine
from edge_client.doctor.finding import Finding, ok
from tests.virtual_time import on_virtual_time


def answering(about: str, after_sec: float = 0.0) -> Check:
    async def look() -> list[Finding]:
        await asyncio.sleep(after_sec)
        return [ok(about, f"after {after_sec:g} s")]

    return Check(about, look)


async def hang() -> list[Finding]:
    await asyncio.Event().wait()
    raise AssertionError


async def stumble() -> list[Finding]:
    raise KeyError("no such thing")


@on_virtual_time
async def test_checks_of_a_group_are_made_at_once_and_told_in_their_order() -> None:
    told: list[str] = []
    began = asyncio.get_running_loop().time()
    found = await examine(
        [[answering("slow", 3.0), answering("quick")], [answering("last", 1.0)]],
        tell=lambda each: told.append(each.about),
    )
    assert told == [each.about for each in found] == ["slow", "quick", "last"]
    assert asyncio.get_running_loop().time() - began == 4.0


@on_virtual_time
async def test_one_that_hangs_is_given_up_and_told() -> None:
    [found, other] = await examine([[Check("relay", hang, 2.0), answering("port")]], tell=lambda each: None)
    assert (found.verdict, found.about, found.expected) == ("fault", "relay", "an answer within 2 s")
    assert other.verdict == "ok"


@on_virtual_time
async def test_one_that_stumbles_says_so_and_the_others_go_on() -> None:
    [found, other] = await examine([[Check("GPU", stumble), answering("port")]], tell=lambda each: None)
    assert (found.verdict, found.found) == ("warning", "KeyError: 'no such thing'")
    assert other.verdict == "ok"


@on_virtual_time
async def test_progress_names_what_is_waited_for() -> None:
    waited: list[str] = []
    await examine([[answering("port"), answering("cloud")]], tell=lambda each: None, progress=waited.append)
    assert waited == ["looking at: port", "looking at: cloud"]
