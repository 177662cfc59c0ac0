/**
 * The few figures of a WebRTC statistics report that explain what a caller hears. Pure.
 *
 * @typedef {Iterable<[string, any]>} Report  an RTCStatsReport, or a Map in tests
 * @typedef {object} Statistics
 * @property {number | null} jitterBufferMs  mean time in the jitter buffer
 * @property {number | null} concealedPercent  of the samples heard, those that were made up
 * @property {number | null} packetsLost
 * @property {number | null} roundTripMs
 * @property {string | null} codec
 */

/** @type {(report: Report) => Statistics} */
export function digest(report) {
  const inbound = find(report, (entry) => entry.type === "inbound-rtp" && entry.kind === "audio");
  const codec = find(report, (entry) => entry.type === "codec" && entry.id === inbound?.codecId);
  return {
    jitterBufferMs: scaled(inbound?.jitterBufferDelay, inbound?.jitterBufferEmittedCount, 1000),
    concealedPercent: scaled(inbound?.concealedSamples, inbound?.totalSamplesReceived, 100),
    packetsLost: inbound?.packetsLost ?? null,
    roundTripMs: scaled(pairInUse(report)?.currentRoundTripTime, 1, 1000),
    codec: codec?.mimeType?.replace("audio/", "") ?? null,
  };
}

/**
 * Grows with everything that arrives, connectivity checks included: a figure that stands still means a dead link.
 *
 * @type {(report: Report) => number}
 */
export function arrivals(report) {
  let count = 0;
  for (const [, entry] of report) {
    if (entry.type === "inbound-rtp") count += entry.packetsReceived ?? 0;
    if (entry.type === "candidate-pair") count += (entry.responsesReceived ?? 0) + (entry.requestsReceived ?? 0);
  }
  return count;
}

/**
 * Several pairs may have been nominated; the transport knows which one is used. Firefox marks the pair instead.
 *
 * @type {(report: Report) => any}
 */
function pairInUse(report) {
  const transport = find(report, (entry) => entry.type === "transport");
  const isUsed = (/** @type {any} */ entry) => entry.id === transport?.selectedCandidatePairId || entry.selected;
  return find(report, (entry) => entry.type === "candidate-pair" && isUsed(entry));
}

/** @type {(report: Report, matches: (entry: any) => boolean) => any} */
function find(report, matches) {
  for (const [, entry] of report) if (matches(entry)) return entry;
  return undefined;
}

/** @type {(amount: number | undefined, count: number | undefined, scale: number) => number | null} */
function scaled(amount, count, scale) {
  return amount === undefined || !count ? null : (amount / count) * scale;
}
