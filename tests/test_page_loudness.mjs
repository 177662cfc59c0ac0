import assert from "node:assert/strict";
import { test } from "node:test";

import { Loudness } from "../edge_client/page/loudness.js";

const RATE = 48_000;
const BLOCK = 128; // what an AudioWorklet is given at a time

/** Feeds stretches of [seconds, amplitude] and returns the reports of the given types. */
function listen(stretches, ...types) {
  const loudness = new Loudness(RATE);
  let fed = 0;
  const reports = stretches.flatMap(([seconds, amplitude]) => {
    const blocks = Math.round((seconds * RATE) / BLOCK);
    return Array.from({ length: blocks }, () => {
      fed += BLOCK;
      const samples = amplitude === null ? undefined : tone(fed, amplitude);
      return loudness.feed(samples, BLOCK, fed / RATE);
    }).flat();
  });
  return reports.filter(({ type }) => types.includes(type));
}

const tone = (end, amplitude) =>
  Float32Array.from({ length: BLOCK }, (_, n) => amplitude * Math.sin((2 * Math.PI * 440 * (end - BLOCK + n)) / RATE));

function assertNear(actual, expected, tolerance = 0.011) {
  assert.ok(Math.abs(actual - expected) <= tolerance, `expected about ${expected}, got ${actual}`);
}

test("the first and the last loud sample of a word are found", () => {
  const [on, off] = listen([[0.5, 0], [0.4, 0.3], [0.5, 0]], "on", "off");
  assert.equal(on.type, "on");
  assertNear(on.at, 0.5);
  assert.equal(off.type, "off");
  assertNear(off.at, 0.9);
});

test("a click is no word, and a short gap does not end one", () => {
  assert.deepEqual(listen([[0.5, 0], [0.006, 0.5], [0.5, 0]], "on"), []);
  assert.equal(listen([[0.5, 0], [0.3, 0.3], [0.1, 0], [0.3, 0.3], [0.5, 0]], "off").length, 1);
});

test("steady noise is silence, and speech stands out of it", () => {
  const [on] = listen([[2, 0.003], [0.4, 0.3], [0.5, 0.003]], "on");
  assertNear(on.at, 2);
});

test("a stream that gives nothing is silent", () => {
  const levels = listen([[0.5, null]], "level", "on");
  assert.ok(levels.length > 3);
  assert.ok(levels.every(({ type, db }) => type === "level" && db === -100));
});

test("the level is that of the loudest moment", () => {
  const [, level] = listen([[0.05, 0.01], [0.05, 1], [0.2, 0.01]], "level");
  assertNear(level.db, -3, 0.5);
});
