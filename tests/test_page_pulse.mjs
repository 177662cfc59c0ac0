import assert from "node:assert/strict";
import { test } from "node:test";

import { DOUBT_SEC, PATIENCE_SEC, Pulse } from "../edge_client/page/pulse.js";

test("a link is alive while something arrives, and for a while after", () => {
  const pulse = new Pulse();
  assert.equal(pulse.feed(0, 100), true);
  assert.equal(pulse.feed(1, 110), true);
  assert.equal(pulse.feed(1, 110 + PATIENCE_SEC - 0.1), true);
  assert.equal(pulse.feed(1, 110 + PATIENCE_SEC), false);
});

test("it comes back to life with the first that arrives", () => {
  const pulse = new Pulse();
  pulse.feed(1, 100);
  assert.equal(pulse.feed(1, 110), false);
  assert.equal(pulse.feed(2, 111), true);
});

test("after a sleep, nothing having arrived, no further wait is needed", () => {
  const pulse = new Pulse();
  pulse.feed(1, 100);
  assert.equal(pulse.feed(1, 4000), false);
});

test("in doubt it has to prove itself sooner, once", () => {
  const pulse = new Pulse();
  pulse.feed(1, 100);
  pulse.doubt();
  assert.equal(pulse.feed(1, 100 + DOUBT_SEC), false);
  assert.equal(pulse.feed(2, 102), true);
  assert.equal(pulse.feed(2, 102 + DOUBT_SEC), true);
});

test("another connection may count from less", () => {
  const pulse = new Pulse();
  pulse.feed(500, 100);
  assert.equal(pulse.feed(3, 110), true);
});
