import assert from "node:assert/strict";
import { test } from "node:test";

import { arrivals, between, counters } from "../edge_client/page/statistics.js";

const report = (...entries) => new Map(entries.map((entry) => [entry.id, entry]));

const INBOUND = {
  id: "in",
  type: "inbound-rtp",
  kind: "audio",
  codecId: "opus",
  jitterBufferDelay: 3840,
  jitterBufferEmittedCount: 96_000,
  concealedSamples: 480,
  totalSamplesReceived: 96_000,
  totalSamplesDuration: 2,
  packetsLost: 2,
  packetsReceived: 100,
};
const PLAYOUT = { id: "AP", type: "media-playout", kind: "audio", totalPlayoutDelay: 2646, totalSamplesCount: 88_200 };
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
const WHOLE = counters(report(OTHER_PAIR, INBOUND, PLAYOUT, CODEC, TRANSPORT, PAIR));

test("the figures that explain what is heard", () => {
  assert.deepEqual(between(null, WHOLE), {
    jitterBufferMs: 40,
    concealedMs: 10,
    packetsLost: 2,
    roundTripMs: 12,
    outputMs: 30,
    codec: "opus",
  });
});

test("they are those of the time between two reports, whatever went before", () => {
  const later = {
    ...INBOUND,
    jitterBufferDelay: 3840 + 480,
    jitterBufferEmittedCount: 96_000 + 24_000,
    concealedSamples: 480 + 960,
    totalSamplesReceived: 120_000,
    totalSamplesDuration: 2.5,
    packetsLost: 3,
    packetsReceived: 125,
  };
  const { jitterBufferMs, concealedMs, packetsLost } = between(WHOLE, counters(report(later)));
  assert.deepEqual([jitterBufferMs, concealedMs, packetsLost], [20, 20, 1]);
});

test("another connection counts from nothing", () => {
  const young = { ...INBOUND, packetsReceived: 20, packetsLost: 1 };
  assert.equal(between(WHOLE, counters(report(young))).packetsLost, 1);
});

test("a browser without transport statistics marks the pair in use", () => {
  assert.equal(counters(report(OTHER_PAIR, { ...PAIR, selected: true })).roundTripMs, 12);
});

test("a report without them, and one before the first sample", () => {
  const nothing = {
    jitterBufferMs: null,
    concealedMs: null,
    packetsLost: null,
    roundTripMs: null,
    outputMs: null,
    codec: null,
  };
  assert.deepEqual(between(null, counters(report())), nothing);
  const young = { ...INBOUND, jitterBufferEmittedCount: 0, totalSamplesReceived: 0, totalSamplesDuration: 0, packetsLost: 0 };
  assert.deepEqual(between(null, counters(report(young))), { ...nothing, packetsLost: 0 });
});

test("everything that arrives counts as a sign of life", () => {
  assert.equal(arrivals(report(INBOUND, OTHER_PAIR, PAIR)), 113);
  assert.equal(arrivals(report()), 0);
});
