"""The page in Chromium, with a sound file for a microphone, as the tests of the page visit it."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from playwright.async_api import Browser, Locator, Page, Response, async_playwright, expect

from edge_client.audio import resample, write_wav
from routing.turns import REPLY_SAMPLE_RATE
from tests.spoken import silence, spoken

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--headless=new",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)
DESKTOP = (1280, 800)

MICROPHONE_RATE = 48_000  # what a browser's fake microphone takes
CONNECTING_SEC = 2.0  # the microphone's file plays from when it is opened; what comes before the call is lost
WAIT_MS = 30_000

expect.set_options(timeout=WAIT_MS)  # of itself it waits for five seconds, which a busy machine may need


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

    async def is_away(self) -> None:
        """The page has noticed that the line is dead."""
        await expect(self.page.get_by_role("status")).to_have_text("Reconnecting", timeout=WAIT_MS)

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
    url: str,
    microphone: Path | None = None,
    *,
    size: tuple[int, int] = DESKTOP,
    program: Path | None = None,
    before: str = "",
    **options: Any,
) -> AsyncIterator[Visit]:
    """``program`` is a browser other than this machine's; ``before`` is a script that runs before the page's own."""
    width, height = size
    async with chromium(program, *microphone_flags(microphone), *secure_flags(url)) as browser:
        page = await browser.new_page(viewport={"width": width, "height": height}, **options)
        complaints: list[str] = []
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.add_init_script(before)
        await page.goto(url)
        yield Visit(page, complaints)


@asynccontextmanager
async def chromium(program: Path | None, *flags: str) -> AsyncIterator[Browser]:
    path = program or find_chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
        yield browser
        await browser.close()


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def microphone_flags(microphone: Path | None) -> list[str]:
    return [f"--use-file-for-fake-audio-capture={microphone}%noloop"] if microphone else []


def secure_flags(url: str) -> list[str]:
    """Browsers give a microphone to pages of this machine only, or over https."""
    return [] if "127.0.0.1" in url else [f"--unsafely-treat-insecure-origin-as-secure={url}"]


def answered_calls(page: Page) -> list[str]:
    """The addresses of the page's calls, as the edge gives them with each of its answers."""
    calls: list[str] = []

    def note(response: Response) -> None:
        if response.status == 201:
            calls.append(response.headers["location"])

    page.on("response", note)
    return calls


async def recorded(folder: Path, *lines: tuple[str, float]) -> Path:
    """A microphone that says each line and is silent for so many seconds after it."""
    path = folder / "microphone.wav"
    await asyncio.to_thread(record, path, lines)
    return path


def record(path: Path, lines: Iterable[tuple[str, float]]) -> None:
    path.parent.mkdir(exist_ok=True)
    parts = [silence(CONNECTING_SEC)]
    for text, pause_sec in lines:
        parts += [spoken(text), silence(pause_sec)]
    write_wav(path, resample(np.concatenate(parts), REPLY_SAMPLE_RATE, MICROPHONE_RATE), MICROPHONE_RATE)


def plain(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
