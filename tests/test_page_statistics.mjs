import assert from "node:assert/strict";
import { test } from "node:test";

import { arrivals, digest } from "../edge_client/page/statistics.js";

const report = (...entries) => new Map(entries.map((entry) => [entry.id, entry]));

const INBOUND = {
  id: "in",
  type: "inbound-rtp",
  kind: "audio",
  codecId: "opus",
  jitterBufferDelay: 4.8,
  jitterBufferEmittedCount: 120,
  concealedSamples: 50,
  totalSamplesReceived: 5000,
  packetsLost: 2,
  packetsReceived: 100,
};
const TRANSPORT = { id: "transport", type: "transport", selectedCandidatePairId: "pair" };
const OTHER_PAIR = { id: "other", type: "candidate-pair", nominated: true, currentRoundTripTime: 0.5, responsesReceived: 1 };
const CODEC = { id: "opus", type: "codec", mimeType: "audio/opus" };
const PAIR = {
  id: "pair",
  type: "candidate-pair",
  nominated: true,
  currentRoundTripTime: 0.012,
  responsesReceived: 7,
  requestsReceived: 5,
};

test("the figures that explain what is heard", () => {
  assert.deepEqual(digest(report(OTHER_PAIR, INBOUND, CODEC, TRANSPORT, PAIR)), {
    jitterBufferMs: 40,
    concealedPercent: 1,
    packetsLost: 2,
    roundTripMs: 12,
    codec: "opus",
  });
});

test("a browser without transport statistics marks the pair in use", () => {
  assert.equal(digest(report(OTHER_PAIR, { ...PAIR, selected: true })).roundTripMs, 12);
});

test("a report without them, and one before the first sample", () => {
  const nothing = { jitterBufferMs: null, concealedPercent: null, packetsLost: null, roundTripMs: null, codec: null };
  assert.deepEqual(digest(report()), nothing);
  const young = { ...INBOUND, jitterBufferEmittedCount: 0, totalSamplesReceived: 0, packetsLost: 0 };
  assert.deepEqual(digest(report(young)), { ...nothing, packetsLost: 0 });
});

test("everything that arrives counts as a sign of life", () => {
  assert.equal(arrivals(report(INBOUND, OTHER_PAIR, PAIR)), 113);
  assert.equal(arrivals(report()), 0);
});
