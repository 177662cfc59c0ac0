import assert from "node:assert/strict";
import { test } from "node:test";

import * as turns from "../edge_client/page/turns.js";

const after = (...events) => events.reduce(turns.reduceTurns, turns.EMPTY_LEDGER);

const committed = { type: "input_audio_buffer.committed", item_id: "u" };
const created = (id) => ({ type: "response.created", response: { id } });
const done = (id, report) => ({ type: "response.done", response: { id }, antiphon: { turn: report } });

const TIMINGS = { endpoint_wait: 200, ttfa: 10, transcribe: 60, first_audio: 30, total: 90 };
const REPORT = {
  index: 0,
  timings_ms: TIMINGS,
  placement: { backend: "device", reason: "the only one" },
  end_reason: "semantic",
};
const spokenTurn = (id, v2vMs, report = REPORT) => [committed, created(id), turns.v2vEvent(v2vMs), done(id, report)];

test("a spoken turn holds the edge's report and the page's own measurement", () => {
  const [turn] = after(...spokenTurn("r", 290)).turns;
  assert.deepEqual(turn, {
    responseId: "r",
    spoken: true,
    index: 0,
    v2vMs: 290,
    timingsMs: TIMINGS,
    placement: { backends: ["device"], reason: "the only one", predictedMs: {} },
    endReason: "semantic",
    isDone: true,
    reception: null,
  });
});

test("the first rows add up to voice to voice, the phases follow one another", () => {
  const [turn] = after(...spokenTurn("r", 290)).turns;
  const rows = turns.waterfallRows(turn).map(({ name, kind, startMs, durationMs }) => [name, kind, startMs, durationMs]);
  assert.deepEqual(rows, [
    ["endpoint_wait", "wait", 0, 200],
    ["ttfa", "edge", 200, 10],
    ["network_playout", "rest", 210, 80],
    ["transcribe", "phase", 0, 60],
    ["first_audio", "phase", 60, 30],
  ]);
  assert.equal(turns.spanMs(turn), 290);
});

test("what was expected stands beside what came, first of who answered", () => {
  const placement = { backend: "device", reason: "sooner", predicted_ms: { cloud: 900, device: 240 } };
  const [turn] = after(...spokenTurn("r", 290, { ...REPORT, placement })).turns;
  const rows = turns.waterfallRows(turn).filter(({ kind }) => kind === "expected" || kind === "passed");
  assert.deepEqual(rows.map(({ name, kind, durationMs }) => [name, kind, durationMs]), [
    ["expected:device", "expected", 240],
    ["expected:cloud", "passed", 900],
  ]);
  assert.equal(turns.spanMs(turn), 290);
  assert.equal(turns.medianMs([turn], "expected:cloud"), 900);
});

test("how a reply came through explains when it was heard", () => {
  const reception = { jitterBufferMs: 30, outputMs: 25, concealedMs: 0, packetsLost: 0, roundTripMs: 1, codec: "opus" };
  const [turn] = after(...spokenTurn("r", 290), turns.receptionEvent("r", reception)).turns;
  const rows = turns.waterfallRows(turn).filter(({ kind }) => kind === "ear");
  assert.deepEqual(rows.map(({ name, startMs, durationMs }) => [name, startMs, durationMs]), [
    ["jitter_buffer", 260, 30],
    ["output", 290, 25],
    ["heard", 0, 315],
  ]);
  assert.equal(turns.spanMs(turn), 315);
});

test("a browser that does not count, and a typed turn, get no such rows", () => {
  const ear = (turn) => turns.waterfallRows(turn).filter(({ kind }) => kind === "ear");
  const nothing = { jitterBufferMs: null, outputMs: null };
  assert.deepEqual(ear(after(...spokenTurn("r", 290), turns.receptionEvent("r", nothing)).turns[0]), []);
  const typed = after(created("r"), done("r", {}), turns.receptionEvent("r", { jitterBufferMs: 30, outputMs: 25 }));
  assert.deepEqual(ear(typed.turns[0]), []);
});

test("before the report there is only the whole", () => {
  const [turn] = after(committed, created("r"), turns.v2vEvent(290)).turns;
  assert.deepEqual(turns.waterfallRows(turn), [{ name: "voice_to_voice", kind: "rest", startMs: 0, durationMs: 290 }]);
});

test("a typed turn claims no measurement", () => {
  const [turn] = after(created("r"), turns.v2vEvent(290), done("r", { timings_ms: { ttfa: 10 } })).turns;
  assert.equal(turn.spoken, false);
  assert.equal(turn.v2vMs, null);
});

test("a sound that was heard before its event arrived is claimed all the same", () => {
  const [turn] = after(committed, turns.v2vEvent(290), created("r")).turns;
  assert.equal(turn.v2vMs, 290);
});

test("only the first sound of a reply counts", () => {
  const [turn] = after(committed, created("r"), turns.v2vEvent(290), turns.v2vEvent(1900)).turns;
  assert.equal(turn.v2vMs, 290);
});

test("speech without words makes the next typed turn no spoken one", () => {
  const silent = { type: "conversation.item.input_audio_transcription.completed", item_id: "u", transcript: "" };
  const [turn] = after(committed, silent, created("r")).turns;
  assert.equal(turn.spoken, false);
});

test("reports that lack parts or hold nonsense do no harm", () => {
  const event = { type: "response.done", response: { id: "r" } };
  const [turn] = after(created("r"), event).turns;
  assert.equal(turns.isMeasured(turn), false);
  const [odd] = after(created("r"), done("r", { timings_ms: { ttfa: "soon", new_phase: 3 } })).turns;
  assert.deepEqual(odd.timingsMs, { new_phase: 3 });
});

test("medians are taken over the turns that have the row", () => {
  const without = { timings_ms: { ttfa: 30 } };
  const ledger = after(...spokenTurn("a", 300), ...spokenTurn("b", 500), created("c"), done("c", without));
  assert.equal(turns.medianV2vMs(ledger.turns), 400);
  assert.equal(turns.medianMs(ledger.turns, "ttfa"), 10);
  assert.equal(turns.medianMs(ledger.turns, "nothing"), null);
});
