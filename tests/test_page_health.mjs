import assert from "node:assert/strict";
import { test } from "node:test";

import { Health } from "../edge_client/page/health.js";

test("the state that is waited for may be the present one", async () => {
  assert.equal(await new Health().until("alive", "opening"), "opening");
});

test("whoever waits is told of the first state that they wait for, and only of that", async () => {
  const health = new Health();
  const told = [];
  health.until("silent", "ended").then((state) => told.push(state));
  health.become("alive");
  health.become("silent");
  health.become("alive");
  health.become("ended");
  await new Promise(setImmediate);
  assert.deepEqual(told, ["silent"]);
});

test("what has ended stays so, with its first reason", () => {
  const health = new Health();
  health.become("ended", "the reason");
  health.become("alive");
  health.become("ended", "another one");
  assert.deepEqual([health.state, health.fault], ["ended", "the reason"]);
});
