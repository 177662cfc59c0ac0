import assert from "node:assert/strict";
import { test } from "node:test";

import { Reception } from "../edge_client/page/reception.js";

const started = (id) => ({ type: "output_audio_buffer.started", response_id: id });
const stopped = (id) => ({ type: "output_audio_buffer.stopped", response_id: id });
const cleared = (id) => ({ type: "output_audio_buffer.cleared", response_id: id });

/** Counts lost packets only; the n-th count is the n-th number. */
async function follow(counts, ...events) {
  const told = [];
  const reception = new Reception({
    count: async () => (counts.length ? { packets: 100, packetsLost: counts.shift() } : null),
    onReply: (id, { packetsLost }) => told.push([id, packetsLost]),
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

test("an end without a beginning counts nothing, and neither does a call that is gone", async () => {
  assert.deepEqual(await follow([5], stopped("a")), []);
  assert.deepEqual(await follow([5], started("a"), stopped("a")), []);
});
