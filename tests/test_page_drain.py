"""The page in Chromium while the edge that it talks to ends, and another one stands behind the same address."""

from __future__ import annotations

import asyncio

import pytest
from blockbuster import BlockBuster
from playwright.async_api import expect

from routing.turns import Message
from tests.browser import WAIT_MS, answered_calls, visit
from tests.front import house

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("may_block"), pytest.mark.timeout(120)]


@pytest.fixture
def may_block(blockbuster: BlockBuster) -> None:
    """Playwright reads files inside the event loop; what is tested here runs in the browser."""
    blockbuster.deactivate()


async def test_the_page_moves_over_and_nobody_sees_it() -> None:
    async with house() as both, visit(both.front.url) as seen:
        calls = answered_calls(seen.page)
        await seen.write("Good evening")
        await seen.captions("far", 1)
        await seen.is_connected()
        both.drain()
        async with asyncio.timeout(WAIT_MS / 1000):
            await both.old.edge.drain.over()
        await seen.is_connected()
        await expect(seen.page.get_by_text("Connected again")).to_have_count(0)
        await seen.write("Are you still there?")
        captions = await seen.captions("far", 2)
    assert captions == ["first", "second"]
    (turn,) = both.answers.turns
    said = [item.text for item in turn.history if isinstance(item, Message)]
    assert said == ["Good evening", "first", "Are you still there?"]
    assert turn.index == 1
    assert (len(calls), seen.complaints) == (2, [])
