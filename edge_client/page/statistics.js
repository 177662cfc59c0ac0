/**
 * The few figures of a WebRTC statistics report that explain what a caller hears. Pure.
 *
 * @typedef {Iterable<[string, any]>} Report  an RTCStatsReport, or a Map in tests
 *
 * @typedef {object} Counters  what a report counts since its connection began, null where the browser does not count it
 * @property {number | null} packets
 * @property {number | null} packetsLost
 * @property {number | null} samples
 * @property {number | null} seconds  of sound
 * @property {number | null} concealedSamples
 * @property {number | null} jitterBufferSec  summed over all samples that left the jitter buffer
 * @property {number | null} jitterBufferSamples
 * @property {number | null} outputSec  the delay between there and the loudspeaker, summed over all samples
 * @property {number | null} outputSamples
 * @property {number | null} roundTripMs  no counter: what was measured last
 * @property {string | null} codec
 *
 * @typedef {object} Statistics  of the time between two reports
 * @property {number | null} jitterBufferMs  mean time in the jitter buffer
 * @property {number | null} concealedMs  sound that was made up because its packets were lost or late
 * @property {number | null} packetsLost
 * @property {number | null} roundTripMs
 * @property {number | null} outputMs  mean time from the jitter buffer to the loudspeaker, as the browser estimates it
 * @property {string | null} codec
 */

/** @type {(report: Report) => Counters} */
export function counters(report) {
  const inbound = find(report, (entry) => entry.type === "inbound-rtp" && entry.kind === "audio");
  const codec = find(report, (entry) => entry.type === "codec" && entry.id === inbound?.codecId);
  const output = find(report, (entry) => entry.type === "media-playout" && entry.kind === "audio");
  return {
    packets: inbound?.packetsReceived ?? null,
    packetsLost: inbound?.packetsLost ?? null,
    samples: inbound?.totalSamplesReceived ?? null,
    seconds: inbound?.totalSamplesDuration ?? null,
    concealedSamples: inbound?.concealedSamples ?? null,
    jitterBufferSec: inbound?.jitterBufferDelay ?? null,
    jitterBufferSamples: inbound?.jitterBufferEmittedCount ?? null,
    outputSec: output?.totalPlayoutDelay ?? null,
    outputSamples: output?.totalSamplesCount ?? null,
    roundTripMs: scaled(pairInUse(report)?.currentRoundTripTime, 1, 1000),
    codec: codec?.mimeType?.replace("audio/", "") ?? null,
  };
}

/**
 * What happened between two reports; of another connection than the earlier one, what happened since it began.
 *
 * @type {(earlier: Counters | null, later: Counters) => Statistics}
 */
export function between(earlier, later) {
  const isSameConnection = earlier !== null && (later.packets ?? 0) >= (earlier.packets ?? 0);
  const grown = (/** @type {Exclude<keyof Counters, "codec">} */ name) =>
    later[name] === null ? null : later[name] - ((isSameConnection && earlier[name]) || 0);
  return {
    jitterBufferMs: scaled(grown("jitterBufferSec"), grown("jitterBufferSamples"), 1000),
    concealedMs: scaled(grown("concealedSamples"), scaled(later.samples, later.seconds, 1), 1000),
    packetsLost: grown("packetsLost"),
    roundTripMs: later.roundTripMs,
    outputMs: scaled(grown("outputSec"), grown("outputSamples"), 1000),
    codec: later.codec,
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

/** @type {(amount: number | null | undefined, count: number | null | undefined, scale: number) => number | null} */
function scaled(amount, count, scale) {
  return amount === null || amount === undefined || !count ? null : (amount / count) * scale;
}
