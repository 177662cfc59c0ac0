/**
 * How far the edge's clock is from the page's, by pings over the data channel. Pure: moments are passed in, in
 * milliseconds since 1970 on the page's clock.
 *
 * A ping tells the offset but for half its round trip, by which its two ways may differ, and what was measured earlier
 * is worth less by as much as two clocks drift apart. What is the least uncertain counts, as in the clock filter of NTP
 * (RFC 5905, section 10).
 *
 * @typedef {{offsetMs: number, uncertaintyMs: number}} Reading  the offset is what is added to the page's clock
 * @typedef {Reading & {atMs: number}} Sample  as certain as it was when it was taken
 */

const KEPT_SAMPLES = 8;
const STEP_MS = 1; // browsers round what pages see of the time, to a millisecond at most
const DRIFT = 1e-4; // two ordinary quartzes, each wrong by up to 50 millionths

/** The page's clock: unlike the computer's own, it is never set. */
export const pageNow = () => performance.timeOrigin + performance.now();

export class EdgeClock {
  #samples = /** @type {readonly Sample[]} */ ([]);

  /**
   * @param {{client_ms?: unknown, server_ms?: unknown}} pong  when the ping left, and when the edge answered it
   * @param {number} receivedMs
   */
  feed({ client_ms: sentMs, server_ms: serverMs }, receivedMs) {
    if (!isMoment(sentMs) || !isMoment(serverMs) || receivedMs < sentMs) return;
    const offsetMs = serverMs - (sentMs + receivedMs) / 2;
    const sample = { offsetMs, uncertaintyMs: (receivedMs - sentMs) / 2 + STEP_MS, atMs: receivedMs };
    const kept = this.#samples.filter((earlier) => agree(earlier, sample)); // the others: a clock has jumped meanwhile
    this.#samples = [...kept.slice(1 - KEPT_SAMPLES), sample];
  }

  /** @type {(nowMs: number) => Reading | null} */
  reading(nowMs) {
    const readings = this.#samples.map((sample) => aged(sample, nowMs));
    if (readings.length === 0) return null;
    return readings.reduce((best, reading) => (reading.uncertaintyMs < best.uncertaintyMs ? reading : best));
  }
}

/** @type {(earlier: Sample, later: Sample) => boolean} */
function agree(earlier, later) {
  const bound = aged(earlier, later.atMs).uncertaintyMs + later.uncertaintyMs;
  return Math.abs(later.offsetMs - earlier.offsetMs) <= bound;
}

/** @type {(sample: Sample, nowMs: number) => Reading} */
function aged({ offsetMs, uncertaintyMs, atMs }, nowMs) {
  return { offsetMs, uncertaintyMs: uncertaintyMs + DRIFT * (nowMs - atMs) };
}

/** @type {(value: unknown) => value is number} */
const isMoment = (value) => typeof value === "number" && Number.isFinite(value);
