/**
 * What the page measured of a turn, as the edge wants it for the turn's trace: moments on the edge's clock, in
 * milliseconds since 1970, and the browser's own counters. What is not known is left out. Pure.
 *
 * @typedef {object} Report
 * @property {string} turn_id
 * @property {number} [speech_end_ms]  when the last loud sample of the microphone passed through the page
 * @property {number} [arrived_ms]  when the reply's first packet came, as far as a page can tell: the news of it, which
 * takes the same way at the same time
 * @property {number} [heard_ms]  when the reply's first loud sample did, after the jitter buffer and before the output
 * @property {number} [jitter_buffer_ms]  how long the browser kept back the sound of the reply's beginning
 * @property {number} [output_ms]  the way to the loudspeaker, as the browser estimates it
 * @property {number} [concealed_ms]  of the whole reply
 * @property {number} [packets_lost]  of the whole reply
 * @property {number} [round_trip_ms]
 * @property {{offset_ms: number, uncertainty_ms: number}} [clock]  what was added to the page's clock
 *
 * @typedef {import("./clock.js").Reading} Reading
 * @typedef {import("./turns.js").Turn} Turn
 */

/**
 * Whether all is there: the edge's account of the turn, and of a reply with sound also what came of that.
 *
 * @type {(turn: Turn) => boolean}
 */
export const isComplete = ({ turnId, isDone, sound }) => turnId !== null && isDone && sound !== "playing";

/**
 * @param {Turn} turn  a complete one
 * @param {Reading | null} clock  null where the edge's clock is not known: then no moment can be told
 * @returns {Report}
 */
export function reportOf(turn, clock) {
  const { turnId, speechEndMs, heardMs, reception } = turn;
  const onEdgeClock = (/** @type {number | null} */ ms) => (ms === null || !clock ? null : ms + clock.offsetMs);
  return {
    turn_id: turnId ?? "",
    ...onlyKnown({
      speech_end_ms: onEdgeClock(speechEndMs),
      arrived_ms: onEdgeClock(arrivalMs(turn)),
      heard_ms: onEdgeClock(heardMs),
      jitter_buffer_ms: reception?.jitterBufferMs,
      output_ms: reception?.outputMs,
      concealed_ms: reception?.concealedMs,
      packets_lost: reception?.packetsLost,
      round_trip_ms: reception?.roundTripMs,
    }),
    ...(clock && { clock: { offset_ms: rounded(clock.offsetMs), uncertainty_ms: rounded(clock.uncertaintyMs) } }),
  };
}

/**
 * News that was lost on its way and sent again comes later than the packet did: the sound was in the browser by then.
 *
 * @type {(turn: Turn) => number | null}
 */
function arrivalMs({ arrivedMs, heardMs, reception }) {
  if (arrivedMs === null || heardMs === null) return null;
  return arrivedMs + (reception?.jitterBufferMs ?? 0) <= heardMs ? arrivedMs : null;
}

/**
 * None of them can be negative, though a packet that came twice makes a browser count fewer as lost.
 *
 * @type {(figures: Record<string, number | null | undefined>) => Record<string, number>}
 */
function onlyKnown(figures) {
  const known = Object.entries(figures).flatMap(([name, value]) => (typeof value === "number" ? [[name, value]] : []));
  return Object.fromEntries(known.map(([name, value]) => [name, Math.max(0, rounded(Number(value)))]));
}

/** @type {(ms: number) => number} */
const rounded = (ms) => Math.round(ms * 1000) / 1000;
