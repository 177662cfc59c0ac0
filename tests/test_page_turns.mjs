import assert from "node:assert/strict";
import { test } from "node:test";

import * as turns from "../edge_client/page/turns.js";

const after = (...events) => events.reduce(turns.reduceTurns, turns.EMPTY_LEDGER);

const committed = { type: "input_audio_buffer.committed", item_id: "u" };
const created = (id) => ({ type: "response.created", response: { id } });
const done = (id, report) => ({ type: "response.done", response: { id }, antiphon: { turn: report } });

const measured = (ms) => turns.v2vEvent({ ms, speechEndMs: 1000, heardMs: 1000 + ms });

const TIMINGS = { endpoint_wait: 200, ttfa: 10, transcribe: 60, first_audio: 30, total: 90 };
const REPORT = {
  index: 0,
  turn_id: "turn_1",
  trace_id: "4bf9",
  timings_ms: TIMINGS,
  placement: { backend: "device", reason: "the only one" },
  end_reason: "semantic",
};
const spokenTurn = (id, v2vMs, report = REPORT) => [committed, created(id), measured(v2vMs), done(id, report)];

test("a spoken turn holds the edge's report and the page's own measurement", () => {
  const [turn] = after(...spokenTurn("r", 290)).turns;
  assert.deepEqual(turn, {
    responseId: "r",
    turnId: "turn_1",
    spoken: true,
    index: 0,
    v2vMs: 290,
    speechEndMs: 1000,
    arrivedMs: null,
    heardMs: 1290,
    timingsMs: TIMINGS,
    placement: { backends: ["device"], reason: "the only one", predictedMs: {} },
    endReason: "semantic",
    isDone: true,
    sound: "none",
    reception: null,
    traceId: "4bf9",
    trace: null,
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
  const [turn] = after(committed, created("r"), measured(290)).turns;
  assert.deepEqual(turns.waterfallRows(turn), [{ name: "voice_to_voice", kind: "rest", startMs: 0, durationMs: 290 }]);
});

test("a typed turn claims no measurement", () => {
  const [turn] = after(created("r"), measured(290), done("r", { timings_ms: { ttfa: 10 } })).turns;
  assert.equal(turn.spoken, false);
  assert.equal(turn.v2vMs, null);
});

test("a sound that was heard before its event arrived is claimed all the same", () => {
  const [turn] = after(committed, measured(290), created("r")).turns;
  assert.equal(turn.v2vMs, 290);
});

test("only the first sound of a reply counts", () => {
  const [turn] = after(committed, created("r"), measured(290), measured(1900)).turns;
  assert.equal(turn.v2vMs, 290);
});

test("speech without words makes the next typed turn no spoken one", () => {
  const silent = { type: "conversation.item.input_audio_transcription.completed", item_id: "u", transcript: "" };
  const [turn] = after(committed, silent, created("r")).turns;
  assert.equal(turn.spoken, false);
});

test("the first sound of a reply that is under way is the reply's, of a typed turn too", () => {
  const started = (id) => ({ type: "output_audio_buffer.started", response_id: id });
  const [turn] = after(turns.heardEvent(400), created("r"), turns.heardEvent(500), started("r"), turns.heardEvent(600), turns.heardEvent(900)).turns;
  assert.deepEqual([turn.heardMs, turn.speechEndMs, turn.sound], [600, null, "playing"]);
  const [first, second] = after(created("a"), started("a"), committed, turns.heardEvent(700), created("b")).turns;
  assert.deepEqual([first.heardMs, second.heardMs], [null, null]);
});

test("a trace belongs to its turn, and tells instead of the edge's own phases where the time went", () => {
  const traced = (id, spans) => ({ type: "antiphon.turn.traced", turn_id: id, trace_id: "4bf9", origin_ms: 0, spans });
  const span = { span_id: "1", parent_id: "", name: "voice.turn", service: "antiphon-edge", begin_ms: 0, duration_ms: 8, attributes: {}, error: "" };
  const ledger = after(...spokenTurn("r", 290), traced("another", [span]), traced("turn_1", [span]));
  const [turn] = ledger.turns;
  assert.deepEqual([turn.traceId, turn.trace.spans.length], ["4bf9", 1]);
  assert.deepEqual(turns.waterfallRows(turn).map(({ name }) => name), ["endpoint_wait", "ttfa", "network_playout"]);
  assert.equal(turns.medianSpanMs(ledger.turns, "voice.turn"), 8);
  assert.equal(after(...spokenTurn("r", 290), traced("turn_1", "none")).turns[0].trace, null);
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
