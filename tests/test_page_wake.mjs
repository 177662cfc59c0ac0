import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { watchWake } from "../edge_client/page/wake.js";

let woken;

beforeEach(() => {
  mock.timers.enable({ apis: ["setInterval", "Date"] });
  globalThis.window = new EventTarget();
  globalThis.document = Object.assign(new EventTarget(), { hidden: false });
  woken = 0;
  watchWake(() => (woken += 1));
});

afterEach(() => mock.timers.reset());

test("time that passes while the page looks on is no sleep", () => {
  for (let second = 0; second < 60; second += 1) mock.timers.tick(1_000);
  assert.equal(woken, 0);
});

test("a computer that slept is awake at the first glance", () => {
  mock.timers.tick(1_000);
  mock.timers.tick(3_600_000); // the clock went on, and no timer did
  assert.equal(woken, 1);
});

test("another network, and a tab that is looked at again", () => {
  window.dispatchEvent(new Event("online"));
  assert.equal(woken, 1);
  document.hidden = true;
  document.dispatchEvent(new Event("visibilitychange"));
  assert.equal(woken, 1);
  document.hidden = false;
  document.dispatchEvent(new Event("visibilitychange"));
  assert.equal(woken, 2);
});
