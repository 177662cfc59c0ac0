"""The page in Chromium, against real edges, with a sound file for a microphone."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from blockbuster import BlockBuster
from playwright.async_api import Page, expect

from routing.telemetry import names
from routing.telemetry.program import open_telemetry
from routing.telemetry.settings import TelemetrySettings
from routing.telemetry.traced_backend import TracedBackend
from routing.turns import Placement, ReplyEnd, ReplyEvent, Samples, Turn
from tests.browser import DESKTOP, WAIT_MS, Visit, answered_calls, plain, recorded, visit
from tests.edge import EdgeProcess, running_edge, scripted_edge, served
from tests.scripted import ScriptedBackend, say

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("may_block"), pytest.mark.timeout(120)]

PHONE = (390, 844)
SMALL_PHONE = (360, 640)

QUESTIONS = ("What time is it?", "What is seven times eight?")
ANSWERING_SEC = 9.0  # time for an answer to be found and heard out

CONTROL_ROLES = {"button", "textbox", "combobox", "checkbox", "meter", "log", "status", "main", "region"}


@pytest.fixture
def may_block(blockbuster: BlockBuster) -> None:
    """Playwright reads files inside the event loop; what is tested here runs in the browser."""
    blockbuster.deactivate()


# -- with the real models --------------------------------------------------------------------------------------------


@pytest.mark.models
@pytest.mark.slow
async def test_two_spoken_turns(edge_process: EdgeProcess, tmp_path: Path) -> None:
    """On a phone and on a desktop, side by side."""
    microphone = await recorded(tmp_path, *((text, ANSWERING_SEC) for text in QUESTIONS))
    async with asyncio.TaskGroup() as stories:
        for size, scheme in ((PHONE, "dark"), (DESKTOP, "light")):
            stories.create_task(speak_twice(edge_process, microphone, size, scheme))


async def speak_twice(edge: EdgeProcess, microphone: Path, size: tuple[int, int], scheme: str) -> None:
    async with visit(edge.url, microphone, size=size, color_scheme=scheme) as seen:
        await seen.keep(f"{scheme}-idle")
        await seen.call()
        await seen.hears_reply()
        await seen.keep(f"{scheme}-call")
        answers = await seen.captions("far", 2)
        heard = await seen.captions("near", 2)
        await has_waterfall(seen, turns=2)
        assert await written(edge.traces, await seen_spans(seen)) == await seen_spans(seen)
        await seen.keep(f"{scheme}-turns")
        await seen.button("Hang up").click()
        await expect(seen.page.get_by_role("status")).to_have_text("Not connected")
    assert [plain(text) for text in heard] == [plain(text) for text in QUESTIONS]
    assert all(plain(text) for text in answers)
    assert seen.complaints == []


async def has_waterfall(seen: Visit, *, turns: int) -> None:
    await show_latency(seen)
    await expect(seen.page.locator("#chooser").get_by_role("button")).to_have_count(turns, timeout=WAIT_MS)
    rows = seen.page.get_by_role("table").get_by_role("row")
    for name in ("Endpoint wait", "TTFA", "Network, playout"):
        await expect(rows.filter(has_text=name)).to_have_text(re.compile(r"\d+"), timeout=WAIT_MS)
    await expect(seen.page.get_by_role("heading", name="Voice to voice")).to_have_text(re.compile(r"\d+ ms"))
    for name in ("Turn", "Speech", "Answer wait", "Downlink", "Playout begins", "Unattributed"):  # the turn's trace
        await expect(rows.filter(has_text=re.compile(f"^{name}")).first).to_have_text(
            re.compile(r"\d+"), timeout=WAIT_MS
        )


type Span = dict[str, Any]

SEEN_SPANS = """
[...document.querySelectorAll("tr.span")].map(({ dataset: { attributes, ...told } }) => ({
  ...told, beginMs: Number(told.beginMs), durationMs: Number(told.durationMs), attributes: JSON.parse(attributes),
}))
"""


async def seen_spans(seen: Visit) -> dict[str, Span]:
    """The spans on the page, by their ids."""
    await expect(seen.page.locator("tr.span").first).to_be_attached(timeout=WAIT_MS)
    return {span.pop("spanId"): span for span in await seen.page.evaluate(SEEN_SPANS)}


async def written(file: Path, shown: dict[str, Span]) -> dict[str, Span]:
    """All spans of the same trace in the edge's file, as the page should show them."""
    async with asyncio.timeout(30):
        while not shown.keys() <= (spans := {span["spanId"]: span for span in recorded_spans(file)}).keys():
            await asyncio.sleep(0.1)  # what is over is written a little later
    [trace_id] = {spans[span_id]["traceId"] for span_id in shown}
    trace = {span_id: span for span_id, span in spans.items() if span["traceId"] == trace_id}
    origin_ns = next(origin for origin in map(origin_of, trace.values()) if origin is not None)
    return {span_id: as_shown(span, origin_ns) for span_id, span in trace.items()}


def recorded_spans(file: Path) -> list[Span]:
    """Each with the name of its service."""
    spans: list[Span] = []
    for line in file.read_text().splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            service = plain_values(resource["resource"]["attributes"])["service.name"]
            spans += [span | {"service": service} for scope in resource["scopeSpans"] for span in scope["spans"]]
    return spans


def origin_of(span: Span) -> int | None:
    """Moments count from the last sample of speech at the edge."""
    return int(span["startTimeUnixNano"]) if span["name"] == names.ENDPOINT_WAIT else None


def as_shown(span: Span, origin_ns: int) -> Span:
    begin, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
    return {
        "name": span["name"],
        "parentId": span.get("parentSpanId", ""),
        "service": span["service"],
        "beginMs": round((begin - origin_ns) / 1e6, 3),
        "durationMs": round((end - begin) / 1e6, 3),
        "attributes": plain_values(span["attributes"]),
    }


def plain_values(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {attribute["key"]: plain_value(attribute["value"]) for attribute in attributes}


def plain_value(told: dict[str, Any]) -> Any:
    [(kind, value)] = told.items()
    if kind == "arrayValue":
        return [plain_value(each) for each in value.get("values", [])]
    return int(value) if kind == "intValue" else value


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


@pytest.mark.parametrize("size", [SMALL_PHONE, DESKTOP], ids=["phone", "desktop"])
async def test_who_answered_is_shown_with_what_was_predicted_and_with_the_trace(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    microphone = await recorded(tmp_path, ("Tell me something.", 8.0))
    predicted = {"cloud": 0.12, "device": 0.9}
    here = Placement("device", "cloud fell silent after 500 ms")

    async def far(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield Placement("cloud", "worth waiting: cloud is better, 93% likely within 562 ms", predicted)
        async for event in say("It began far away and ended here.", seconds=1.0)(turn, audio):
            if isinstance(event, ReplyEnd):
                yield here
            yield event

    traces = tmp_path / "traces.jsonl"
    async with (
        open_telemetry(TelemetrySettings(file=str(traces)), service=names.EDGE) as telemetry,
        scripted_edge(
            TracedBackend(ScriptedBackend(far), spans=telemetry.spans(names.EDGE)), routed=False, traced=telemetry
        ) as edge,
        served(edge) as running,
        visit(running.url, microphone, size=size) as seen,
    ):
        await seen.call()
        await seen.captions("far", 1)
        await show_latency(seen)
        rows = seen.page.get_by_role("table").get_by_role("row")
        for name in ("Predicted: cloud", "Predicted: device"):
            await expect(rows.filter(has_text=name)).to_have_text(re.compile(r"\d+"), timeout=WAIT_MS)
        caption = seen.page.get_by_role("table").locator("caption")
        await expect(caption).to_contain_text("answered by cloud, then device · cloud fell silent after 500 ms")
        await expect(seen.page.locator(".caption.far .note")).to_contain_text("predicted")
        await expect(seen.page.locator("#chooser").get_by_role("button")).to_contain_text("device")
        shown = await seen_spans(seen)
        assert await written(traces, shown) == shown
        assert {names.NETWORK_UPLINK, names.FIRST_PLAYOUT} <= {span["name"] for span in shown.values()}
        assert await seen.fits()
        await seen.keep(f"placement-{size[0]}")
    assert seen.complaints == []


async def test_a_call_that_the_edge_ends_is_dialled_again_and_remembers() -> None:
    backend = ScriptedBackend(say("Hello to you."))
    async with running_edge(backend) as edge, visit(edge.url) as seen:
        calls = answered_calls(seen.page)
        await seen.write("Good evening")
        await seen.captions("far", 1)
        await end(edge.url, calls[0])
        await expect(seen.page.get_by_text("Connected again")).to_be_visible(timeout=WAIT_MS)
        await seen.is_connected()
        await seen.write("Are you still there?")
        await seen.captions("far", 2)
    history = [getattr(item, "text", None) for item in backend.turns[-1].history]
    assert history == ["Good evening", "Hello to you.", "Are you still there?"]
    assert len(calls) == 2
    assert [re.sub(r"\D", "", line) for line in seen.complaints] == ["404"]  # asked for the session that is gone


async def test_an_edge_that_was_restarted_is_found_again_and_told_what_was_said() -> None:
    first, second = ScriptedBackend(say("Hello to you.")), ScriptedBackend(say("Yes, I am."))
    async with AsyncExitStack() as page:
        async with running_edge(first) as edge:
            seen = await page.enter_async_context(visit(edge.url))
            await seen.write("Good evening")
            await seen.captions("far", 1)
        host, port = urlsplit(edge.url).hostname, urlsplit(edge.url).port
        await seen.is_away()
        async with scripted_edge(second) as another, served(another, (host or "", port or 0)):
            await expect(seen.page.get_by_text("Connected again")).to_be_visible(timeout=WAIT_MS)
            await seen.write("Are you still there?")
            await seen.captions("far", 2)
            await page.aclose()
    history = [getattr(item, "text", None) for item in second.turns[-1].history]
    assert history == ["Good evening", "Hello to you.", "Are you still there?"]


async def end(url: str, call: str) -> None:
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


DRAW = """
async (spans) => {
  const [{ readTrace }, { traceRows }] = await Promise.all([import("./page/trace.js"), import("./page/tracerows.js")]);
  const rows = traceRows(readTrace({ spans }), () => null);
  return rows.map((row) => [row.className, row.querySelector("th").textContent, row.title.split("\\n").at(-1)]);
}
"""


def told_span(number: int, parent: int, name: str, **more: Any) -> Span:
    ids = {"span_id": str(number), "parent_id": str(parent), "name": name, "service": names.EDGE}
    return {**ids, "begin_ms": number, "duration_ms": 1, "attributes": {}, "error": ""} | more


async def test_what_was_done_in_vain_is_set_apart_in_words_too() -> None:
    rolled_back, cancelled = ({names.ATTEMPT_OUTCOME: outcome} for outcome in ("rolled_back", "cancelled"))
    spans = [
        told_span(1, 0, "voice.turn"),
        told_span(2, 1, "generate_content smollm", attributes=rolled_back),
        told_span(3, 2, "transcribe"),
        told_span(4, 1, "infer.request", attributes=cancelled, error="too late"),
        told_span(5, 1, "tea.break", attributes={"cups": 2}),
    ]
    async with running_edge() as edge, visit(edge.url) as seen:
        rows = await seen.page.evaluate(DRAW, spans)
    assert rows == [
        ["span", "Turn", "1 ms, from 1 ms on"],
        ["span in-vain", "Answer smollm rolled back", "voice.attempt.outcome: rolled_back"],
        ["span in-vain", "Transcribe (in vain)", "1 ms, from 3 ms on"],
        ["span in-vain", "Asked elsewhere cancelled, error", "voice.attempt.outcome: cancelled"],
        ["span", "tea.break", "cups: 2"],
    ]


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
