import assert from "node:assert/strict";
import { test } from "node:test";

import { Reporter } from "../edge_client/page/reporter.js";

const created = { type: "session.created" };
const TURN = {
  responseId: "resp_1",
  turnId: "turn_1",
  spoken: true,
  isDone: true,
  sound: "over",
  speechEndMs: 2_000,
  arrivedMs: 2_350,
  heardMs: 2_400.1234,
  reception: { jitterBufferMs: 40.5, outputMs: 30, concealedMs: 0, packetsLost: -1, roundTripMs: 12, codec: "opus" },
};

/** A reporter, what it sends, and an edge whose clock is 500 ms ahead and whose answers take no time. */
function begin() {
  const sent = [];
  const reporter = new Reporter({ send: (request) => sent.push(request), ask: (request) => sent.push(request), now: () => 1_000 });
  const answerPing = () => reporter.take({ type: "antiphon.clock.pong", client_ms: sent.at(-1).client_ms, server_ms: 1_500 });
  return { reporter, sent, answerPing };
}

test("a session begins with five pings, one after the other, and each response with one", () => {
  const { reporter, sent, answerPing } = begin();
  reporter.follow(created, []);
  for (let n = 0; n < 7; n += 1) assert.equal(answerPing(), true);
  assert.deepEqual(sent.map(({ type, client_ms }) => [type, client_ms]), Array(5).fill(["antiphon.clock.ping", 1_000]));
  reporter.follow({ type: "response.created" }, []);
  assert.equal(sent.length, 6);
});

test("a turn is reported once, on the edge's clock", () => {
  const { reporter, sent, answerPing } = begin();
  reporter.follow(created, []);
  answerPing();
  sent.length = 0;
  for (const turn of [{ ...TURN, isDone: false }, { ...TURN, sound: "playing" }, TURN, { ...TURN }]) reporter.follow({ type: "any" }, [turn]);
  assert.deepEqual(sent, [
    {
      type: "antiphon.turn.report",
      event_id: "aside_report_3",
      turn_id: "turn_1",
      speech_end_ms: 2_500,
      arrived_ms: 2_850,
      heard_ms: 2_900.123,
      jitter_buffer_ms: 40.5,
      output_ms: 30,
      concealed_ms: 0,
      packets_lost: 0,
      round_trip_ms: 12,
      clock: { offset_ms: 500, uncertainty_ms: 1 },
    },
  ]);
});

test("a typed turn, and a reply without sound, are told as far as they are known", () => {
  const { reporter, sent, answerPing } = begin();
  reporter.follow(created, []);
  answerPing();
  sent.length = 0;
  const typed = { ...TURN, speechEndMs: null, arrivedMs: null, reception: null };
  const silent = { ...typed, responseId: "resp_2", turnId: "turn_2", sound: "none", heardMs: null };
  reporter.follow({ type: "response.done" }, [typed, silent]);
  const clock = { offset_ms: 500, uncertainty_ms: 1 };
  assert.deepEqual(sent.map(({ type, event_id, ...report }) => report), [
    { turn_id: "turn_1", heard_ms: 2_900.123, clock },
    { turn_id: "turn_2", clock },
  ]);
});

test("without the edge's clock no moment is told", () => {
  const { reporter, sent } = begin();
  reporter.follow({ type: "response.done" }, [{ ...TURN, reception: null }]);
  assert.deepEqual(sent.map(({ event_id, ...request }) => request), [{ type: "antiphon.turn.report", turn_id: "turn_1" }]);
});

test("an edge that does not know pings is asked no more, until another session begins", () => {
  const { reporter, sent } = begin();
  reporter.follow(created, []);
  assert.equal(reporter.take({ type: "error", error: { code: "unknown_event", event_id: sent[0].event_id } }), true);
  reporter.follow({ type: "response.created" }, [TURN]);
  assert.equal(sent.length, 1);
  reporter.follow(created, []);
  assert.equal(sent.length, 2);
});

test("a refused report is the end of that report alone, and other errors are other people's", () => {
  const { reporter, sent } = begin();
  reporter.follow({ type: "response.done" }, [TURN]);
  assert.equal(reporter.take({ type: "error", error: { code: "turn_not_found", event_id: sent[0].event_id } }), true);
  reporter.follow({ type: "response.done" }, [TURN, { ...TURN, responseId: "resp_2" }]);
  assert.equal(sent.length, 2);
  assert.equal(reporter.take({ type: "error", error: { message: "No.", event_id: null } }), false);
  assert.equal(reporter.take({ type: "response.done" }), false);
});

test("news of a packet that came after its sound is no arrival", () => {
  const { reporter, sent, answerPing } = begin();
  reporter.follow(created, []);
  answerPing();
  reporter.follow({ type: "response.done" }, [{ ...TURN, arrivedMs: 2_380 }]);
  assert.equal(sent.at(-1).arrived_ms, undefined);
});
