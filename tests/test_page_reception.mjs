import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Reception } from "../edge_client/page/reception.js";

const started = (id) => ({ type: "output_audio_buffer.started", response_id: id });
const stopped = (id) => ({ type: "output_audio_buffer.stopped", response_id: id });
const cleared = (id) => ({ type: "output_audio_buffer.cleared", response_id: id });

/** Counts lost packets only; the n-th count is the n-th number. */
async function follow(counts, ...events) {
  const told = [];
  const reception = new Reception({
    count: async () => (counts.length ? { packets: 100, packetsLost: counts.shift() } : null),
    onReply: (id, statistics) => told.push([id, statistics && statistics.packetsLost]),
  });
  for (const event of events) await reception.follow(event);
  return told;
}

test("a reply has what was counted between its first sound and its last", async () => {
  assert.deepEqual(await follow([5, 7], started("a"), stopped("a")), [["a", 2]]);
});

test("each reply is counted anew, a cut one too", async () => {
  assert.deepEqual(await follow([5, 7, 9, 10], started("a"), cleared("a"), started("b"), stopped("b")), [["a", 2], ["b", 1]]);
});

test("an end without a beginning counts nothing", async () => {
  assert.deepEqual(await follow([5], stopped("a")), []);
});

test("of a call that is gone it is told that nothing was counted", async () => {
  assert.deepEqual(await follow([5], started("a"), stopped("a")), [["a", null]]);
});

/** A browser whose n-th count says that so many samples had left the jitter buffer, after so many seconds in all. */
async function beginningOf(...counts) {
  mock.timers.enable({ apis: ["setTimeout"] });
  const told = [];
  const reception = new Reception({
    count: async () => {
      const [jitterBufferSamples, jitterBufferSec] = counts.shift();
      return { packets: 1, jitterBufferSamples, jitterBufferSec };
    },
    onReply: (_, { jitterBufferMs }) => told.push(jitterBufferMs),
  });
  reception.hear(); // of no reply
  await reception.follow(started("a"));
  reception.hear();
  mock.timers.tick(1_000);
  await Promise.resolve();
  reception.hear(); // its second sentence
  await reception.follow(stopped("a"));
  mock.timers.reset();
  return told;
}

test("the jitter buffer's figure is of the beginning", async () => {
  assert.deepEqual(await beginningOf([1000, 50], [1100, 54], [2000, 400]), [40]);
});

test("a browser that has counted nothing by then gives the figure of the whole", async () => {
  assert.deepEqual(await beginningOf([1000, 50], [1000, 50], [2000, 150]), [100]);
});
