import assert from "node:assert/strict";
import { test } from "node:test";

import { EdgeClock } from "../edge_client/page/clock.js";

const AHEAD_MS = 5_000; // of the page's clock

/** An edge's answer to a ping that took so long there and so long back, and when it arrives. */
function pong(sentMs, thereMs, backMs, aheadMs = AHEAD_MS) {
  return [{ client_ms: sentMs, server_ms: sentMs + thereMs + aheadMs }, sentMs + thereMs + backMs];
}

function clockAfter(...pongs) {
  const clock = new EdgeClock();
  for (const args of pongs) clock.feed(...args);
  return clock;
}

test("before the first pong nothing is known", () => {
  assert.equal(clockAfter().reading(0), null);
});

test("the offset is right but for half the round trip", () => {
  const { offsetMs, uncertaintyMs } = clockAfter(pong(100, 30, 10)).reading(140);
  assert.deepEqual([offsetMs, uncertaintyMs], [AHEAD_MS + 10, 21]);
});

test("the smallest round trip counts", () => {
  const clock = clockAfter(pong(100, 80, 10), pong(200, 4, 4), pong(300, 20, 30));
  assert.equal(Math.round(clock.reading(400).offsetMs), AHEAD_MS);
});

test("what was measured long ago gives way to what was measured less well since", () => {
  const clock = clockAfter(pong(0, 2, 2), pong(600_000, 10, 6, AHEAD_MS + 30));
  const { offsetMs, uncertaintyMs } = clock.reading(600_020);
  assert.equal(offsetMs, AHEAD_MS + 32);
  assert.ok(uncertaintyMs < 10);
});

test("after a clock has jumped, what was measured before is wrong, however well it was", () => {
  const clock = clockAfter(pong(0, 1, 1), pong(1_000, 30, 30, AHEAD_MS + 3_600_000));
  assert.equal(clock.reading(1_060).offsetMs, AHEAD_MS + 3_600_000);
});

test("nonsense is no reading", () => {
  const clock = clockAfter([{ client_ms: 5, server_ms: "late" }, 6], [{ server_ms: 1 }, 2], [{ client_ms: 9, server_ms: 1 }, 8]);
  assert.equal(clock.reading(10), null);
});
