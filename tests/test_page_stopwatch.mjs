import assert from "node:assert/strict";
import { test } from "node:test";

import { Stopwatch } from "../edge_client/page/stopwatch.js";

/** Feeds [voice, type, at] triples and returns the measured milliseconds. */
function measure(...reports) {
  const stopwatch = new Stopwatch();
  const measured = reports.map(([voice, type, at]) => stopwatch.feed(voice, { type, at }));
  return measured.filter((measurement) => measurement !== null).map(({ ms }) => Math.round(ms));
}

test("from the microphone's last sound to the reply's first", () => {
  assert.deepEqual(measure(["near", "on", 1], ["near", "off", 2], ["far", "on", 2.4]), [400]);
});

test("a pause inside the question does not start the watch for good", () => {
  const reports = [["near", "off", 2], ["near", "on", 2.5], ["near", "off", 3], ["far", "on", 3.3]];
  assert.deepEqual(measure(["near", "on", 1], ...reports), [300]);
});

test("a reply so quick that its sound is reported first is measured too", () => {
  assert.deepEqual(measure(["near", "on", 1], ["far", "on", 2.15], ["near", "off", 2]), [150]);
});

test("sound during the question is no reply to it", () => {
  assert.deepEqual(measure(["near", "on", 1], ["far", "on", 1.5], ["near", "off", 2]), []);
});

test("the second sentence of a reply is not measured", () => {
  const reply = [["far", "on", 2.4], ["far", "off", 3], ["far", "on", 3.5]];
  assert.deepEqual(measure(["near", "on", 1], ["near", "off", 2], ...reply), [400]);
});

test("every turn is measured anew", () => {
  const turn = (start) => [["near", "on", start], ["near", "off", start + 1], ["far", "on", start + 1.3], ["far", "off", start + 2]];
  assert.deepEqual(measure(...turn(1), ...turn(10)), [300, 300]);
});
