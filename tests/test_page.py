"""The page in Chromium, against real edges, with a sound file for a microphone."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
import pytest
from blockbuster import BlockBuster
from hibari import Hibari
from playwright.async_api import Browser, Locator, Page, Response, async_playwright, expect

from edge_client.audio import resample, write_wav
from routing.turns import REPLY_SAMPLE_RATE, Samples
from tests.edge import EdgeProcess, running_edge
from tests.scripted import ScriptedBackend, say

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("may_block"), pytest.mark.timeout(120)]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--headless=new",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)
DESKTOP = (1280, 800)
PHONE = (390, 844)
SMALL_PHONE = (360, 640)

MICROPHONE_RATE = 48_000  # what a browser's fake microphone takes
CONNECTING_SEC = 2.0  # the microphone's file plays from when it is opened; what comes before the call is lost
ANSWERING_SEC = 9.0  # time for an answer to be found and heard out
WAIT_MS = 30_000

CONTROL_ROLES = {"button", "textbox", "combobox", "checkbox", "meter", "log", "status", "main", "region"}


@pytest.fixture
def may_block(blockbuster: BlockBuster) -> None:
    """Playwright reads files inside the event loop; what is tested here runs in the browser."""
    blockbuster.deactivate()


# -- a visit to the page ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Visit:
    """The page, and what the browser's console complained about."""

    page: Page
    complaints: list[str]

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name)

    async def call(self) -> None:
        await self.button("Talk").click()
        await self.is_connected()

    async def is_connected(self) -> None:
        await expect(self.page.get_by_role("status")).to_have_text("Connected", timeout=WAIT_MS)

    async def write(self, text: str) -> None:
        await self.page.get_by_label("Type instead of speaking").fill(text)
        await self.button("Send").click()

    async def captions(self, voice: Literal["near", "far"], count: int) -> list[str]:
        """What one side said, as soon as ``count`` captions of it are settled."""
        lines = self.page.locator(f".caption.{voice}:not([data-status=partial]) .words")
        await expect(lines.nth(count - 1)).to_be_visible(timeout=WAIT_MS)
        return await lines.all_inner_texts()

    async def hears_reply(self) -> None:
        level = self.page.get_by_role("meter", name="Level of the reply")
        await expect(level).to_have_attribute("aria-valuenow", re.compile(r"[3-9]\d|100"), timeout=WAIT_MS)

    async def fits(self) -> bool:
        """Whether nothing is wider than the window."""
        page_fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        return bool(await self.page.evaluate(page_fits))

    async def keep(self, name: str) -> None:
        """A picture for people to look at."""
        folder = Path("artifacts")
        await self.page.screenshot(path=folder / f"page-{name}.png")


@asynccontextmanager
async def visit(
    url: str, microphone: Path | None = None, *, size: tuple[int, int] = DESKTOP, **options: Any
) -> AsyncIterator[Visit]:
    width, height = size
    async with chromium(microphone) as browser:
        page = await browser.new_page(viewport={"width": width, "height": height}, **options)
        complaints: list[str] = []
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(url)
        yield Visit(page, complaints)


@asynccontextmanager
async def chromium(microphone: Path | None) -> AsyncIterator[Browser]:
    sound = [f"--use-file-for-fake-audio-capture={microphone}%noloop"] if microphone else []
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*FLAGS, *sound])
        yield browser
        await browser.close()


async def recorded(folder: Path, *lines: tuple[str, float]) -> Path:
    """A microphone that says each line and is silent for so many seconds after it."""
    path = folder / "microphone.wav"
    await asyncio.to_thread(record, path, lines)
    return path


def record(path: Path, lines: Iterable[tuple[str, float]]) -> None:
    speak = Hibari()
    parts = [silence(CONNECTING_SEC)]
    for text, pause_sec in lines:
        parts += [np.asarray(speak(text, seed=7), np.float32), silence(pause_sec)]
    write_wav(path, resample(np.concatenate(parts), REPLY_SAMPLE_RATE, MICROPHONE_RATE), MICROPHONE_RATE)


def silence(duration_sec: float) -> Samples:
    return np.zeros(round(duration_sec * REPLY_SAMPLE_RATE), np.float32)


def plain(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


# -- with the real models --------------------------------------------------------------------------------------------


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")], ids=["phone", "desktop"])
async def test_two_spoken_turns(edge_process: EdgeProcess, tmp_path: Path, size: tuple[int, int], scheme: str) -> None:
    questions = ("What time is it?", "What is seven times eight?")
    microphone = await recorded(tmp_path, *((text, ANSWERING_SEC) for text in questions))
    async with visit(edge_process.url, microphone, size=size, color_scheme=scheme) as seen:
        await seen.keep(f"{scheme}-idle")
        await seen.call()
        await seen.hears_reply()
        await seen.keep(f"{scheme}-call")
        answers = await seen.captions("far", 2)
        heard = await seen.captions("near", 2)
        await has_waterfall(seen, turns=2)
        await seen.keep(f"{scheme}-turns")
        await seen.button("Hang up").click()
        await expect(seen.page.get_by_role("status")).to_have_text("Not connected")
    assert [plain(text) for text in heard] == [plain(text) for text in questions]
    assert all(plain(text) for text in answers)
    assert seen.complaints == []


async def has_waterfall(seen: Visit, *, turns: int) -> None:
    await show_latency(seen)
    await expect(seen.page.locator("#chooser").get_by_role("button")).to_have_count(turns, timeout=WAIT_MS)
    rows = seen.page.get_by_role("table").get_by_role("row")
    for name in ("Endpoint wait", "TTFA", "Network, playout"):
        await expect(rows.filter(has_text=name)).to_have_text(re.compile(r"\d+"), timeout=WAIT_MS)
    await expect(seen.page.get_by_role("heading", name="Voice to voice")).to_have_text(re.compile(r"\d+ ms"))


async def show_latency(seen: Visit) -> None:
    """On a phone the details are folded away."""
    if await seen.button("Latency details").is_visible():
        await seen.button("Latency details").click()


@pytest.mark.models
@pytest.mark.slow
async def test_a_typed_question(edge_process: EdgeProcess) -> None:
    async with visit(edge_process.url, size=SMALL_PHONE) as seen:
        await seen.write("What is two plus two?")
        await seen.hears_reply()
        [answer] = await seen.captions("far", 1)
    assert {"four", "4"} & set(plain(answer))
    assert seen.complaints == []


# -- with a scripted backend -----------------------------------------------------------------------------------------


async def test_an_interrupted_reply_is_shown_as_cut(tmp_path: Path) -> None:
    microphone = await recorded(tmp_path, ("Tell me everything.", 3.0), ("No, wait a moment please.", 6.0))
    story = "This is a story about everything there is and it goes on and on and on"
    backend = ScriptedBackend(say(story, seconds=12.0), say("All right.", heard="no wait"))
    async with running_edge(backend) as edge, visit(edge.url, microphone) as seen:
        await seen.call()
        _, last = await seen.captions("far", 2)
        heard = await seen.page.locator("[data-status=cut] .heard").inner_text()
        unheard = await seen.page.locator("[data-status=cut] .unheard").inner_text()
        await seen.keep("cut")
    assert plain(heard)
    assert plain(unheard)
    assert plain(heard + unheard) == plain(story)
    assert plain(last) == ["all", "right"]
    assert seen.complaints == []


async def test_a_call_that_is_cut_is_dialled_again_and_remembers() -> None:
    backend = ScriptedBackend(say("Hello to you."))
    async with running_edge(backend) as edge, visit(edge.url) as seen:
        calls = answered_calls(seen.page)
        await seen.write("Good evening")
        await seen.captions("far", 1)
        await cut(edge.url, calls[0])
        await expect(seen.page.get_by_text("Connected again")).to_be_visible(timeout=WAIT_MS)
        await seen.is_connected()
        await seen.write("Are you still there?")
        await seen.captions("far", 2)
    history = [getattr(item, "text", None) for item in backend.turns[-1].history]
    assert history == ["Good evening", "Hello to you.", "Are you still there?"]
    assert len(calls) == 2
    assert seen.complaints == []


def answered_calls(page: Page) -> list[str]:
    """The addresses of the page's calls, as the edge gives them."""
    calls: list[str] = []

    def note(response: Response) -> None:
        if response.status == 201:
            calls.append(response.headers["location"])

    page.on("response", note)
    return calls


async def cut(url: str, call: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        (await client.delete(call)).raise_for_status()


async def test_a_locked_edge_asks_for_the_key() -> None:
    async with running_edge(api_keys="sesame") as edge, visit(edge.url) as seen:
        await seen.button("Talk").click()
        await expect(seen.page.get_by_role("alert")).to_have_text("Antiphon asks for a key.")
        await seen.page.get_by_label("Key").fill("sesame")
        await seen.button("Connect").click()
        await seen.is_connected()
        stored = await seen.page.evaluate("[JSON.stringify(sessionStorage), JSON.stringify(localStorage)]")
    assert ["sesame" in part for part in stored] == [True, False]


async def test_push_to_talk(tmp_path: Path) -> None:
    microphone = await recorded(tmp_path, *[("One two three four five six seven.", 0.1)] * 6)
    async with running_edge() as edge, visit(edge.url, microphone) as seen:
        await seen.call()
        await seen.button("Sound").click()
        await seen.page.get_by_label("Push to talk").check()
        await seen.page.keyboard.press("Escape")
        await seen.button("Hold to speak").focus()
        await seen.page.keyboard.down(" ")
        await asyncio.sleep(1.5)  # what is said meanwhile is the turn
        await seen.page.keyboard.up(" ")
        assert await seen.captions("near", 1) == ["hello there"]
        assert await seen.captions("far", 1) == ["hello"]
    assert seen.complaints == []


async def test_a_small_phone_shows_everything_without_scrolling_sideways() -> None:
    async with running_edge() as edge, visit(edge.url, size=SMALL_PHONE, color_scheme="dark") as seen:
        assert await seen.fits()
        await seen.write("A" * 80 + " and more")
        await seen.captions("far", 1)
        await show_latency(seen)
        assert await seen.fits()
        await seen.keep("small-phone")


async def test_every_control_has_a_name() -> None:
    async with running_edge() as edge, visit(edge.url) as seen:
        await seen.write("Good evening")
        await seen.captions("far", 1)
        names = await accessible_names(seen.page)
        await seen.button("Sound").click()
        names += await accessible_names(seen.page)
    assert {role for role, _ in names} >= CONTROL_ROLES - {"region"}
    assert [role for role, name in names if not name and role != "status"] == []


async def accessible_names(page: Page) -> list[tuple[str, str]]:
    """Role and name of everything that matters to somebody who does not see the page."""
    session = await page.context.new_cdp_session(page)
    tree = await session.send("Accessibility.getFullAXTree")
    nodes = [node for node in tree["nodes"] if not node["ignored"]]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
    return [(role, name) for role, name in named if role in CONTROL_ROLES]
