"""The `@openai/agents-realtime` package as published: over WebSocket in Node.js and over WebRTC in Chromium."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import numpy as np
import pytest
from blockbuster import BlockBuster
from playwright.async_api import Page, async_playwright

from edge_client.audio import float_to_pcm16, resample, write_wav
from routing.turns import REPLY_SAMPLE_RATE, Samples
from tests.browser import FLAGS, MICROPHONE_RATE
from tests.conversations import (
    ABANDONED_WORK,
    CONVERSATIONS,
    LISTENING_SEC,
    SUM,
    TOOL_CALL,
    WEATHER_REPORT,
    WEATHER_TOOL,
    Conversation,
    answer_slowly,
    mentions,
    plain,
)
from tests.diary import Diary
from tests.edge import EdgeProcess, running_edge
from tests.node import JAVASCRIPT, run_node
from tests.schema import faults_in_javascript
from tests.scripted import ScriptedBackend
from tests.spoken import silence, spoken

pytestmark = [pytest.mark.models, pytest.mark.node, pytest.mark.slow, pytest.mark.timeout(180)]

SDK = "node_modules/@openai/agents-realtime/dist/bundle"
TOOL_EVENTS = {TOOL_CALL: ["agent_tool_start", "agent_tool_end"]}
COMPLAINTS = ("warning", "error")
WEATHER = {"definition": WEATHER_TOOL, "report": WEATHER_REPORT}


CONNECTING_SEC = 4.0  # the microphone's file plays from when it is opened; what comes before the call is lost
BEGINNING_SEC = 2.0  # time for an answer to begin
ANSWERING_SEC = 8.0  # time for an answer to be found and heard out


# -- over WebSocket, in Node.js --------------------------------------------------------------------------------------


async def test_websockets_side_by_side(edge_process: EdgeProcess, tmp_path: Path) -> None:
    async with running_edge(ScriptedBackend(answer_slowly)) as slow_edge, asyncio.TaskGroup() as stories:
        for name, conversation in CONVERSATIONS.items():
            stories.create_task(converse_in_node(conversation, edge_process.url, tmp_path / name))
        stories.create_task(converse_in_node(ABANDONED_WORK, slow_edge.url, tmp_path / "abandoned"))


async def converse_in_node(conversation: Conversation, edge_url: str, folder: Path) -> None:
    scenario = {
        "url": socket_url(edge_url),
        "weather": WEATHER,
        "lines": await asyncio.to_thread(recorded, conversation, folder),
        "listeningMs": 1000 * LISTENING_SEC,
    }
    story = told(await run_node("converse.mjs", scenario))
    story.check(conversation)
    assert await faults_in_javascript(story.diary.events) == []
    assert story.kinds.count("audio_start") == len(conversation.lines)
    if conversation.lines[0].cut_short:
        interrupted = story.kinds.index("audio_interrupted")
        assert "audio_start" in story.kinds[:interrupted]
        assert "audio_start" in story.kinds[interrupted:]


def recorded(conversation: Conversation, folder: Path) -> list[dict[str, Any]]:
    """The lines as files of 24 kHz PCM, in the words of converse.mjs."""
    folder.mkdir()
    lines = []
    for number, line in enumerate(conversation.lines):
        path = folder / f"{number}.pcm"
        path.write_bytes(float_to_pcm16(spoken(line.text)))
        lines.append({"path": str(path), "cutShort": line.cut_short})
    return lines


# -- over both, in Chromium ------------------------------------------------------------------------------------------


@pytest.fixture
def may_block(blockbuster: BlockBuster) -> None:
    """Playwright reads files inside the event loop; what is tested here runs in another process."""
    blockbuster.deactivate()


@pytest.mark.browser
@pytest.mark.usefixtures("may_block")
async def test_webrtc_turns(edge_process: EdgeProcess, other_origin: str, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as stories:
        for name in ("two turns", "tool call"):
            story = converse_in_page(CONVERSATIONS[name], edge_process.url, other_origin, tmp_path / name)
            stories.create_task(story)


@pytest.mark.browser
@pytest.mark.usefixtures("may_block")
async def test_webrtc_barge_in(edge_process: EdgeProcess, other_origin: str, tmp_path: Path) -> None:
    """On an answer that is complete, and on one that is still being made."""
    async with running_edge(ScriptedBackend(answer_slowly)) as slow_edge, asyncio.TaskGroup() as stories:
        complete, abandoned = tmp_path / "complete", tmp_path / "abandoned"
        stories.create_task(converse_in_page(CONVERSATIONS["barge-in"], edge_process.url, other_origin, complete))
        stories.create_task(converse_in_page(ABANDONED_WORK, slow_edge.url, other_origin, abandoned))


async def converse_in_page(conversation: Conversation, edge_url: str, page_origin: str, folder: Path) -> None:
    microphone = folder / "microphone.wav"
    await asyncio.to_thread(write_script, microphone, conversation)
    scenario = {
        "url": edge_url,
        "apiKey": await client_secret(edge_url),
        "weather": WEATHER,
        "lines": len(conversation.lines),
    }
    async with page_at(f"{page_origin}/page.html", microphone) as (page, complaints):
        record = await page.evaluate("scenario => converse(scenario)", scenario)
    assert complaints == []
    story = told(record)
    story.check(conversation)
    assert await faults_in_javascript(story.diary.events) == []
    assert record["callId"], "the Location header does not reach the page"
    assert record["sound"]["totalAudioEnergy"] > 0.01, "the answers are not audible"


@pytest.mark.browser
@pytest.mark.usefixtures("may_block")
async def test_websocket_of_a_page(edge_process: EdgeProcess, other_origin: str) -> None:
    """Pages cannot send headers: the key comes as a subprotocol, and the server must select another one."""
    scenario = {
        "url": socket_url(edge_process.url),
        "apiKey": await client_secret(edge_process.url),
        "weather": WEATHER,
        "text": SUM,
    }
    async with page_at(f"{other_origin}/page.html") as (page, complaints):
        story = told(await page.evaluate("scenario => write(scenario)", scenario))
    assert story.errors == complaints == []
    (answer,) = story.diary.answers()
    assert mentions(answer, "84", "eighty four")
    assert await faults_in_javascript(story.diary.events) == []


def write_script(path: Path, conversation: Conversation) -> None:
    path.parent.mkdir()
    samples = np.concatenate(list(script(conversation)))
    write_wav(path, resample(samples, REPLY_SAMPLE_RATE, MICROPHONE_RATE), MICROPHONE_RATE)


def script(conversation: Conversation) -> Iterable[Samples]:
    """All that is said into the microphone, and the silence between."""
    yield silence(CONNECTING_SEC)
    for line in conversation.lines:
        yield spoken(line.text)
        yield silence(LISTENING_SEC + BEGINNING_SEC if line.cut_short else ANSWERING_SEC)


def socket_url(edge_url: str) -> str:
    return edge_url.replace("http", "ws", 1) + "/v1/realtime"


async def client_secret(edge_url: str) -> str:
    async with httpx.AsyncClient() as client:
        reply = await client.post(f"{edge_url}/v1/realtime/client_secrets", json={})
    return str(reply.raise_for_status().json()["value"])


@asynccontextmanager
async def page_at(address: str, microphone: Path | None = None) -> AsyncIterator[tuple[Page, list[str]]]:
    """The page, with a file in place of a microphone, and what the browser's console complains about."""
    flags = [*FLAGS, *([f"--use-file-for-fake-audio-capture={microphone}%noloop"] if microphone else [])]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = await browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda line: complaints.append(line.text) if line.type in COMPLAINTS else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(address)
        yield page, complaints
        await browser.close()


@pytest.fixture
def other_origin() -> Iterator[str]:
    """Serves the page and the SDK's own bundle from an origin that is not the edge's."""
    with ThreadingHTTPServer(("127.0.0.1", 0), PageHandler) as server:
        thread = Thread(target=server.serve_forever, name="other origin")
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class PageHandler(SimpleHTTPRequestHandler):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, directory=str(JAVASCRIPT), **options)

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.replace("/sdk/", f"/{SDK}/", 1))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Tests are silent."""


# -- what both tell ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Story:
    """One conversation as the package tells it to its user; `kinds` are the names of its events."""

    diary: Diary
    kinds: list[str]
    history: list[Any]
    errors: list[str]

    def check(self, conversation: Conversation) -> None:
        assert self.errors == []
        conversation.check(self.diary)
        assert self.kinds.count("agent_start") == len(self.diary.of("response.created"))
        assert self.kinds.count("agent_end") == len(self.diary.of("response.done"))
        assert self.said_by("user") == [plain(text) for text in self.diary.heard()]
        assert [kind for kind in self.kinds if "tool" in kind] == TOOL_EVENTS.get(conversation, [])

    def said_by(self, role: str) -> list[str]:
        messages = [item for item in self.history if item["type"] == "message" and item["role"] == role]
        return [plain(" ".join(part["transcript"] or "" for part in item["content"])) for item in messages]


def told(record: Any) -> Story:
    return Story(Diary(record["events"]), record["kinds"], record["history"], record["errors"])
