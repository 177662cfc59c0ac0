import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { spanKind, spanMeaning, spanWords, WORDINGS } from "../edge_client/page/spans.js";
import { readTrace, unattributedMs, view, WAY as WAITS, waited } from "../edge_client/page/trace.js";

/** A span of a trace, as the edge tells it. */
const told = (span_id, parent_id, name, begin_ms, end_ms, attributes = {}) => ({
  span_id,
  parent_id,
  name,
  service: "antiphon-edge",
  begin_ms,
  duration_ms: Math.round((end_ms - begin_ms) * 1000) / 1000,
  attributes,
  error: "",
});
const traced = (...spans) => readTrace({ type: "antiphon.turn.traced", turn_id: "t", trace_id: "4bf9", origin_ms: 0, spans });
const outcome = (word, backend = "device") => ({ "voice.attempt.outcome": word, "voice.route.target": backend });

const ROOT = told("root", "", "voice.turn", -1_500, 3_000, { "voice.route.target": "device" });
const WAY = [
  told("up", "root", "network.uplink", -20, -0.002),
  told("endpoint", "root", "endpoint.wait", 0, 199.998),
  told("answer", "root", "answer.wait", 200, 249.998),
  told("packet", "root", "codec.first_packet", 250, 259.998),
  told("down", "root", "network.downlink", 260, 264.998),
  told("first", "root", "playout.first_audio", 265, 299.998),
  told("jitter", "first", "jitter_buffer", 265, 289.998),
];
const REST = [
  told("speech", "root", "vad.segment", -1_500, 0),
  told("judged", "endpoint", "endpoint.judge", 60, 90),
  told("playout", "root", "playout", 260, 3_000),
];

test("spans come as a waterfall, each before its children", () => {
  const { traceId, spans } = traced(...REST.toReversed(), ...WAY.toReversed(), ROOT);
  assert.equal(traceId, "4bf9");
  assert.deepEqual(spans.map(({ id, depth }) => [id, depth]), [
    ["root", 0],
    ["speech", 1],
    ["up", 1],
    ["endpoint", 1],
    ["judged", 2],
    ["answer", 1],
    ["packet", 1],
    ["playout", 1],
    ["down", 1],
    ["first", 1],
    ["jitter", 2],
  ]);
});

test("the numbers are those of the trace", () => {
  const { spans } = traced(ROOT, told("a", "root", "endpoint.wait", 1.234, 200.001, { "endpoint.pauses": 2 }));
  assert.deepEqual(spans[1], {
    id: "a",
    parentId: "root",
    name: "endpoint.wait",
    service: "antiphon-edge",
    beginMs: 1.234,
    durationMs: 198.767,
    attributes: { "endpoint.pauses": 2 },
    error: "",
    depth: 1,
    fate: "",
    isInVain: false,
  });
});

test("speculations and losers are set apart, with all that is within them; a reply that was cut is not", () => {
  const { spans } = traced(
    ROOT,
    told("guess", "root", "generate_content cascade", -900, -400, outcome("rolled_back")),
    told("words", "guess", "transcribe", -900, -500),
    told("loser", "root", "infer.request", 0, 300, outcome("cancelled", "cloud")),
    told("cut", "root", "generate_content cascade", 0, 900, outcome("cancelled")),
    told("told", "root", "generate_content cascade", 5, 900, outcome("told")),
  );
  assert.deepEqual(spans.slice(1).map(({ id, fate, isInVain }) => [id, fate, isInVain]), [
    ["guess", "rolled back", true],
    ["words", "", true],
    ["loser", "cancelled", true],
    ["cut", "cut off", false],
    ["told", "", false],
  ]);
});

test("phases that follow each other explain everything", () => {
  const trace = traced(ROOT, ...WAY, ...REST);
  assert.deepEqual(waited(trace), { beginMs: -20, endMs: 299.998 });
  assert.equal(unattributedMs(trace), 0);
});

test("what they leave out is unattributed, and what overlaps counts once", () => {
  const without = WAY.filter(({ span_id }) => span_id !== "answer");
  assert.equal(Math.round(unattributedMs(traced(ROOT, ...without, ...REST))), 50);
  assert.equal(unattributedMs(traced(ROOT, ...WAY, told("floor", "root", "floor.wait", 190, 240))), 0);
});

test("a turn that nobody waited for from mouth to ear has nothing to explain", () => {
  const typed = traced(ROOT, ...WAY.filter(({ span_id }) => !["up", "endpoint"].includes(span_id)));
  assert.equal(waited(typed), null);
  assert.equal(unattributedMs(typed), null);
});

test("the wait is shown with little around it, however long the speech and the reply were", () => {
  const { beginMs, endMs } = view(traced(ROOT, ...WAY, ...REST));
  assert.deepEqual([Math.round(beginMs), Math.round(endMs)], [-46, 326]);
  const typed = view(traced(ROOT, told("answer", "root", "answer.wait", 0, 100), told("playout", "root", "playout", 100, 3_000)));
  assert.deepEqual(typed, { beginMs: -8, endMs: 108 });
  assert.deepEqual(view(traced(ROOT)), { beginMs: -1_860, endMs: 3_360 });
});

test("a caller's own span above the turn need not be there; what is no span is left out", () => {
  const { spans } = traced({ ...ROOT, parent_id: "elsewhere" }, ...WAY, { name: "odd" }, null, told("loop", "loop", "x", 0, 1));
  assert.deepEqual([spans[0].id, spans.length], ["root", 1 + WAY.length]);
  assert.equal(traced(), null);
  assert.equal(readTrace({ spans: "none" }), null);
});

test("a span that the page does not know is shown by its name", () => {
  assert.deepEqual([spanWords("tea.break"), spanMeaning("tea.break"), spanKind("tea.break")], ["tea.break", "", "phase"]);
  assert.deepEqual([spanWords("generate_content moonshine"), spanKind("endpoint.wait")], ["Answer moonshine", "wait"]);
});

const names = readFileSync(new URL("../routing/telemetry/names.py", import.meta.url), "utf8");

test("the waits of voice to voice are those that the traces are read by", () => {
  const given = Object.fromEntries([...names.matchAll(/^([A-Z_]+): Final = "([^"]+)"/gm)].map(([, key, name]) => [key, name]));
  const [, listed] = /^VOICE_TO_VOICE: Final = \(([^)]+)\)/m.exec(names);
  assert.deepEqual(listed.match(/[A-Z_]+/g).map((key) => given[key]), WAITS);
});

test("every name that a program gives a span has words and a meaning", () => {
  const section = names.slice(names.indexOf("# -- spans"), names.indexOf("# What a backend calls"));
  const given = [...section.matchAll(/^[A-Z_]+: Final = "([^"]+)"/gm)].map(([, name]) => name);
  assert.ok(given.length > 30);
  assert.deepEqual(given.filter((name) => !WORDINGS[name]?.meaning), []);
});
