"""The page in Chromium on one machine, an edge on another, and a bad network between them."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blockbuster import BlockBuster
from playwright.async_api import expect

from edge_client.network.profile import NetworkProfile, find_profile
from edge_client.realtime.edge import Edge
from edge_client.realtime.program import open_edge
from edge_client.settings import EdgeSettings
from routing.turns import Samples
from tests.browser import WAIT_MS, Visit, answered_calls, find_chromium, recorded, visit
from tests.edge import RunningEdge, scripted_edge, served
from tests.namespaces import Machine, Network, entered, namespaces, needs_namespaces
from tests.scale import scale, steps_heard
from tests.scripted import ScriptedBackend, say

pytestmark = [
    pytest.mark.browser,
    pytest.mark.hostile,
    pytest.mark.slow,
    needs_namespaces,
    pytest.mark.usefixtures("may_block"),
    pytest.mark.timeout(240),
]

type Opened = AbstractAsyncContextManager[Edge]

KEY = "sesame"
REACHABLE: dict[str, Any] = {"host": "0.0.0.0", "api_keys": KEY}
IMPATIENT: dict[str, Any] = REACHABLE | {"peer": {"vanish_timeout_sec": 4.0}}
STEPS = 60  # a reply of 6 s
TRAIN = replace(find_profile("train"), cuts=())  # the test cuts it where it hurts
SEAM_STEPS = 2  # heard just before the cut, and no sign of it came through any more: said again
LOST_STEPS = 6  # on a bad link some steps are concealed beyond recognition

# Records what the page plays, through whichever connection it comes.
RECORDER = """
{
  const property = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "srcObject");
  const blocks = [];
  let context, tap, source;
  const follow = (stream) => {
    context ??= new AudioContext({ sampleRate: 16_000 });
    if (!tap) {
      tap = context.createScriptProcessor(2048, 1, 1);
      tap.onaudioprocess = ({ inputBuffer }) => blocks.push(inputBuffer.getChannelData(0).slice());
      tap.connect(context.destination);
    }
    source?.disconnect();
    source = stream && context.createMediaStreamSource(stream);
    source?.connect(tap);
  };
  Object.defineProperty(HTMLMediaElement.prototype, "srcObject", {
    get: property.get,
    set(stream) {
      property.set.call(this, stream);
      follow(stream);
    },
  });
  window.recording = async () => {
    const samples = blocks.flatMap((block) => [...block]);
    const bytes = new Uint8Array(Float32Array.from(samples).buffer);
    let text = "";
    for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
    return btoa(text);
  };
}
"""


@pytest.fixture
def may_block(blockbuster: BlockBuster) -> None:
    """Playwright reads files inside the event loop; what is tested here runs in the browser."""
    blockbuster.deactivate()


# -- two machines ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Journey:
    """A page on the far machine that talks with an edge on the near one."""

    seen: Visit
    network: Network
    calls: list[str]  # as the edge answered them

    async def cut(self, duration_sec: float) -> None:
        """Nothing gets through for a while; the page notices."""
        await self.network.cut()
        healed = asyncio.create_task(self._restore(duration_sec))
        await self.seen.is_away()
        await healed

    async def _restore(self, after_sec: float) -> None:
        await asyncio.sleep(after_sec)
        await self.network.restore()

    async def is_listening(self) -> None:
        """The reply is over."""
        await expect(self.seen.page.locator("#phase")).to_have_text("Listening", timeout=WAIT_MS)

    async def recording(self) -> Samples:
        """What the page played so far, at 16 kHz."""
        return np.frombuffer(base64.b64decode(await self.seen.page.evaluate("recording()")), np.float32)


@asynccontextmanager
async def journey(profile: NetworkProfile, opened: Opened, microphone: Path) -> AsyncIterator[Journey]:
    program = find_chromium()
    assert program, "the marker asks for a browser"
    async with namespaces(profile) as network, edge_on(network.near, opened) as edge:
        browser = network.program(network.far, program)
        async with visit(edge.url, microphone, program=browser, before=RECORDER) as seen:
            calls = answered_calls(seen.page)
            await unlock(seen)
            yield Journey(seen, network, calls)


async def unlock(seen: Visit) -> None:
    """Call; an edge that others can reach wants to know the key."""
    await seen.button("Talk").click()
    await seen.page.get_by_label("Key").fill(KEY)
    await seen.button("Connect").click()
    await seen.is_connected()
    assert [re.sub(r"\D", "", line) for line in seen.complaints] == ["401"]
    seen.complaints.clear()


@asynccontextmanager
async def edge_on(machine: Machine, opened: Opened) -> AsyncIterator[RunningEdge]:
    """An edge on a machine: in a thread, because it is threads that are on machines."""
    here = asyncio.get_running_loop()
    started: asyncio.Future[tuple[RunningEdge, asyncio.AbstractEventLoop, asyncio.Event]] = here.create_future()

    async def serve() -> None:
        stop = asyncio.Event()
        async with opened as edge, served(edge, (machine.address, 0)) as running:
            here.call_soon_threadsafe(started.set_result, (running, asyncio.get_running_loop(), stop))
            await stop.wait()

    def serve_there() -> None:
        with entered(machine):
            asyncio.run(serve())

    def tell(over: asyncio.Task[None]) -> None:
        if not started.done():
            started.set_exception(over.exception() or EOFError())

    serving = asyncio.create_task(asyncio.to_thread(serve_there))
    serving.add_done_callback(tell)
    edge, there, stop = await started
    try:
        yield edge
    finally:
        there.call_soon_threadsafe(stop.set)
        await serving


# -- the stories -----------------------------------------------------------------------------------------------------


def history(backend: ScriptedBackend) -> list[str | None]:
    """What the latest turn was given of what had been said, and the turn itself."""
    return [getattr(item, "text", None) for item in backend.turns[-1].history]


def assert_heard_once(steps: list[int]) -> None:
    backwards = [before - after for before, after in pairwise(steps) if after < before]
    assert len(backwards) <= 1, steps
    assert sum(backwards) <= SEAM_STEPS, steps
    assert len(set(steps)) >= STEPS - LOST_STEPS, steps


async def test_a_conversation_over_wifi(tmp_path: Path) -> None:
    microphone = await recorded(tmp_path, ("What time is it?", 3.0), ("And in Paris?", 3.0))
    backend = ScriptedBackend(say("It is noon.", heard="What time is it?"), say("The same.", heard="And in Paris?"))
    async with journey(find_profile("wifi"), scripted_edge(backend, **REACHABLE), microphone) as there:
        assert await there.seen.captions("near", 2) == ["What time is it?", "And in Paris?"]
        assert await there.seen.captions("far", 2) == ["It is noon.", "The same."]
        await heard_is_explained(there.seen)
        await there.seen.keep("wifi")
    assert history(backend) == ["What time is it?", "It is noon."]
    assert len(there.calls) == 1
    assert there.seen.complaints == []


async def heard_is_explained(seen: Visit) -> None:
    rows = seen.page.get_by_role("table").get_by_role("row")
    for name in ("in it: jitter buffer", "after it: output", "Heard after"):
        await expect(rows.filter(has_text=name)).to_have_text(re.compile(r"\d+"), timeout=WAIT_MS)
    await expect(seen.page.locator("#reception")).to_have_text(re.compile(r"\d+ ms concealed · \d+ packets lost"))


async def hear_a_scale_through_a_cut(tmp_path: Path, duration_sec: float, settings: dict[str, Any]) -> list[str]:
    """All of the reply is heard once, and the talk goes on with its history; returns the calls that were answered."""
    microphone = await recorded(tmp_path, ("Sing me a scale.", 1.0))
    backend = ScriptedBackend(scale(STEPS), say("It was."))
    async with journey(TRAIN, scripted_edge(backend, **settings), microphone) as there:
        await there.seen.hears_reply()
        await there.cut(duration_sec)
        await there.seen.is_connected()
        await there.is_listening()
        heard = steps_heard(await there.recording())
        await there.seen.write("Was that all?")
        assert await there.seen.captions("far", 2) == ["la la la", "It was."]
    assert_heard_once(heard)
    assert history(backend) == ["sing me a scale", "la la la", "Was that all?"]
    assert there.seen.complaints == []
    return there.calls


async def test_a_cut_of_five_seconds_in_the_middle_of_a_reply(tmp_path: Path) -> None:
    calls = await hear_a_scale_through_a_cut(tmp_path, 5.0, REACHABLE)
    assert len(set(calls)) == 1, "the same call all the time"


async def test_a_cut_so_long_that_only_another_connection_helps(tmp_path: Path) -> None:
    calls = await hear_a_scale_through_a_cut(tmp_path, 7.0, IMPATIENT)
    assert len(calls) >= 2
    assert len(set(calls)) == 1, "the same call over another connection"


async def test_what_is_typed_into_a_dead_line_is_asked_once_when_it_is_back(tmp_path: Path) -> None:
    microphone = await recorded(tmp_path)
    backend = ScriptedBackend(say("One."), say("Two."), say("Three."))
    async with journey(TRAIN, scripted_edge(backend, **IMPATIENT), microphone) as there:
        await there.seen.write("First")
        await there.seen.captions("far", 1)
        await there.is_listening()
        cut = asyncio.create_task(there.cut(7.0))
        await asyncio.sleep(1.0)
        await there.seen.write("Second")  # nobody knows yet that the line is dead
        await there.seen.is_away()
        await there.seen.write("Third")
        await cut
        assert await there.seen.captions("far", 3) == ["One.", "Two.", "Three."]
        assert await there.seen.captions("near", 3) == ["First", "Second", "Third"]
    assert [turn.index for turn in backend.turns] == [0, 1, 2]
    assert history(backend) == ["First", "One.", "Second", "Two.", "Third"]
    assert there.seen.complaints == []


@pytest.mark.models
@pytest.mark.parametrize("name", ["wifi", "train"])
async def test_what_was_said_before_a_cut_is_known_after_it(tmp_path: Path, name: str) -> None:
    microphone = await recorded(tmp_path, ("My name is Anna.", 15.0), ("What is my name?", 5.0))
    profile = replace(find_profile(name), cuts=(), loss=0.0)  # a lost packet may make another word of a name
    opened = open_edge(EdgeSettings(**REACHABLE), progress=lambda _: None)
    async with journey(profile, opened, microphone) as there:
        await there.seen.hears_reply()
        await there.cut(5.0)
        await there.seen.is_connected()
        answers = await there.seen.captions("far", 2)
        await there.is_listening()
        told, asked = await there.seen.captions("near", 2)
        assert "Anna" in told  # "My name is", or where a packet came too late "My name's"
        assert "name" in asked
    assert answers == ["Nice to meet you, Anna.", "Your name is Anna."]
    assert len(set(there.calls)) == 1
    assert there.seen.complaints == []
