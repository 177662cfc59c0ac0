/**
 * Where the time of each turn went: the edge's own timings, which come with `response.done`, the voice-to-voice time
 * that this page measures, and the turn's trace, which the edge tells once it has the page's report. Pure:
 * `reduceTurns(ledger, event)` gives the next ledger.
 *
 * @typedef {object} Turn
 * @property {string} responseId
 * @property {string | null} turnId  as the edge calls it, once the response is done
 * @property {boolean} spoken  whether it answers speech; typed turns have no voice-to-voice time
 * @property {number | null} index  the edge's number of the turn
 * @property {number | null} v2vMs
 * @property {number | null} speechEndMs  when the user's last sound passed through the page, on the page's clock
 * @property {number | null} arrivedMs  when the news came that the reply's first packet was on its way
 * @property {number | null} heardMs  when the reply's first loud sound passed through the page
 * @property {Readonly<Record<string, number>>} timingsMs
 * @property {import("./placement.js").Placement | null} placement
 * @property {string | null} endReason
 * @property {boolean} isDone
 * @property {"none" | "playing" | "over"} sound  over: it was heard out or cut, and what was counted of it is known
 * @property {import("./statistics.js").Statistics | null} reception  how the reply came through, once it has ended
 * @property {string} traceId  empty where the turn has no trace
 * @property {import("./trace.js").Trace | null} trace
 *
 * @typedef {{ms: number, speechEndMs: number | null, heardMs: number | null}} VoiceToVoice  moments on the page's clock
 *
 * @typedef {object} Ledger
 * @property {readonly Turn[]} turns
 * @property {boolean} speechCommitted  speech was committed and its response is still to come
 * @property {VoiceToVoice | null} unclaimed  measured before the event of its response arrived
 *
 * @typedef {"wait" | "edge" | "rest" | "expected" | "passed" | "ear" | "phase"} RowKind
 * @typedef {object} Row
 * @property {string} name  as the edge calls it
 * @property {RowKind} kind
 * @property {number} startMs  after the user's last sound; phases count from the first phase
 * @property {number} durationMs
 */

import { onlyNumbers, readPlacement } from "./placement.js";
import { readTrace } from "./trace.js";

/** What was expected of a backend is a row by this name and the backend's. */
export const EXPECTED = "expected:";

/** @type {Ledger} */
export const EMPTY_LEDGER = Object.freeze({ turns: [], speechCommitted: false, unclaimed: null });

/** The timings that are no phases of the work: those that add up to the voice-to-voice time, and the phases' own sum. */
const NO_PHASES = new Set(["endpoint_wait", "ttfa", "total"]);

/** @type {(ledger: Ledger, event: any) => Ledger} */
export function reduceTurns(ledger, event) {
  switch (event.type) {
    case "input_audio_buffer.committed":
      return { ...ledger, speechCommitted: true };
    case "conversation.item.input_audio_transcription.completed":
      return event.transcript ? ledger : { ...ledger, speechCommitted: false }; // nothing was said: no response comes
    case "response.created":
      return openTurn(ledger, event.response.id);
    case "response.done":
      return closeTurn(ledger, event.response.id, event.antiphon?.turn ?? {});
    case "output_audio_buffer.started":
      return changeTurn(ledger, event.response_id, { sound: "playing" });
    case "antiphon.turn.traced":
      return addTrace(ledger, event);
    case "page.v2v":
      return claimV2v(ledger, event.measured);
    case "page.arrived":
      return changeTurn(ledger, event.responseId, { arrivedMs: event.ms });
    case "page.heard":
      return claimSound(ledger, event.ms);
    case "page.reception":
      return changeTurn(ledger, event.responseId, { reception: event.statistics, sound: "over" });
    default:
      return ledger;
  }
}

/** @type {(measured: VoiceToVoice) => any} */
export const v2vEvent = (measured) => ({ type: "page.v2v", measured });

/** The first packet of the reply was sent. @type {(responseId: string, ms: number) => any} */
export const arrivedEvent = (responseId, ms) => ({ type: "page.arrived", responseId, ms });

/** The reply's side begins to sound. @type {(ms: number | null) => any} */
export const heardEvent = (ms) => ({ type: "page.heard", ms });

/** The reply has ended. @type {(responseId: string, statistics: import("./statistics.js").Statistics | null) => any} */
export const receptionEvent = (responseId, statistics) => ({ type: "page.reception", responseId, statistics });

/** @type {(ledger: Ledger, responseId: string) => Ledger} */
function openTurn(ledger, responseId) {
  const spoken = ledger.speechCommitted;
  /** @type {Turn} */
  const turn = {
    responseId,
    turnId: null,
    spoken,
    index: null,
    v2vMs: null,
    speechEndMs: null,
    arrivedMs: null,
    heardMs: null,
    timingsMs: {},
    placement: null,
    endReason: null,
    isDone: false,
    sound: "none",
    reception: null,
    traceId: "",
    trace: null,
  };
  const measured = spoken && ledger.unclaimed ? measuredAs(ledger.unclaimed) : {};
  return { turns: [...ledger.turns, { ...turn, ...measured }], speechCommitted: false, unclaimed: null };
}

/** @type {(ledger: Ledger, responseId: string, report: any) => Ledger} */
function closeTurn(ledger, responseId, report) {
  return changeTurn(ledger, responseId, {
    turnId: report.turn_id ?? null,
    traceId: report.trace_id ?? "",
    index: report.index ?? null,
    timingsMs: onlyNumbers(report.timings_ms),
    placement: readPlacement(report.placement),
    endReason: report.end_reason ?? null,
    isDone: true,
  });
}

/**
 * A measurement belongs to the spoken turn that waits for one, or to the one whose speech was just committed.
 *
 * @type {(ledger: Ledger, measured: VoiceToVoice) => Ledger}
 */
function claimV2v(ledger, measured) {
  const last = ledger.turns.at(-1);
  if (ledger.speechCommitted) return { ...ledger, unclaimed: measured };
  if (!last?.spoken || last.v2vMs !== null) return ledger;
  return changeTurn(ledger, last.responseId, measuredAs(measured));
}

/** @type {(measured: VoiceToVoice) => Partial<Turn>} */
const measuredAs = ({ ms, ...moments }) => ({ v2vMs: ms, ...moments });

/**
 * The first sound of a reply that is under way is the reply's, whether or not it answers speech.
 *
 * @type {(ledger: Ledger, ms: number | null) => Ledger}
 */
function claimSound(ledger, ms) {
  const last = ledger.turns.at(-1);
  if (ledger.speechCommitted || !last || last.sound === "none" || last.heardMs !== null) return ledger;
  return changeTurn(ledger, last.responseId, { heardMs: ms });
}

/** @type {(ledger: Ledger, event: any) => Ledger} */
function addTrace(ledger, event) {
  const trace = readTrace(event);
  const turn = ledger.turns.find(({ turnId }) => turnId !== null && turnId === event.turn_id);
  return trace && turn ? changeTurn(ledger, turn.responseId, { trace, traceId: trace.traceId }) : ledger;
}

/** @type {(ledger: Ledger, responseId: string, changes: Partial<Turn>) => Ledger} */
function changeTurn(ledger, responseId, changes) {
  const turns = ledger.turns.map((turn) => (turn.responseId === responseId ? { ...turn, ...changes } : turn));
  return { ...ledger, turns };
}

/** @type {(turn: Turn) => boolean} */
export function isMeasured(turn) {
  return turn.v2vMs !== null || turn.trace !== null || Object.keys(turn.timingsMs).length > 0;
}

/**
 * The waterfall of one turn, first row first. Its trace, where there is one, tells the rest better.
 *
 * @type {(turn: Turn) => Row[]}
 */
export function waterfallRows(turn) {
  const rest = turn.trace ? [] : [...earRows(turn), ...phaseRows(turn)];
  return [...headlineRows(turn), ...expectedRows(turn), ...rest];
}

/** @type {(turn: Turn) => Row[]} */
export function headlineRows({ timingsMs, v2vMs }) {
  /** @type {Row[]} */
  const rows = [];
  let startMs = 0;
  const add = (/** @type {string} */ name, /** @type {RowKind} */ kind, /** @type {number | undefined} */ durationMs) => {
    if (durationMs === undefined) return;
    rows.push({ name, kind, startMs, durationMs });
    startMs += durationMs;
  };
  add("endpoint_wait", "wait", timingsMs.endpoint_wait);
  add("ttfa", "edge", timingsMs.ttfa);
  if (v2vMs !== null) add(rows.length ? "network_playout" : "voice_to_voice", "rest", v2vMs - startMs);
  return rows;
}

/**
 * What was expected of each who could have answered, beside what came true: first of who did answer.
 *
 * @type {(turn: Turn) => Row[]}
 */
function expectedRows({ placement }) {
  if (placement === null) return [];
  const [speaker] = placement.backends;
  const isFirst = (/** @type {string} */ name) => Number(name === speaker);
  return Object.entries(placement.predictedMs)
    .sort(([one], [other]) => isFirst(other) - isFirst(one))
    .map(([backend, durationMs]) => {
      const kind = /** @type {RowKind} */ (backend === speaker ? "expected" : "passed");
      return { name: EXPECTED + backend, kind, startMs: 0, durationMs };
    });
}

/**
 * From what is measured to what is heard. The page measures where sound leaves the jitter buffer; the wait in there is
 * a part of the voice-to-voice time, the way to the loudspeaker comes on top of it.
 *
 * @type {(turn: Turn) => Row[]}
 */
function earRows({ v2vMs, reception }) {
  if (v2vMs === null || reception === null) return [];
  const { jitterBufferMs, outputMs } = reception;
  /** @type {Row[]} */
  const rows = [];
  if (jitterBufferMs !== null) {
    rows.push({ name: "jitter_buffer", kind: "ear", startMs: v2vMs - jitterBufferMs, durationMs: jitterBufferMs });
  }
  if (outputMs !== null) {
    rows.push({ name: "output", kind: "ear", startMs: v2vMs, durationMs: outputMs });
    rows.push({ name: "heard", kind: "ear", startMs: 0, durationMs: v2vMs + outputMs });
  }
  return rows;
}

/** @type {(turn: Turn) => Row[]} */
function phaseRows({ timingsMs }) {
  let startMs = 0;
  return Object.entries(timingsMs)
    .filter(([name]) => !NO_PHASES.has(name))
    .map(([name, durationMs]) => {
      const row = { name, kind: /** @type {RowKind} */ ("phase"), startMs, durationMs };
      startMs += durationMs;
      return row;
    });
}

/**
 * How much time the rows take; what those would have taken who did not answer may go beyond it.
 *
 * @type {(turn: Turn) => number}
 */
export function spanMs(turn) {
  const rows = waterfallRows(turn).filter(({ kind }) => kind !== "passed");
  return Math.max(1, turn.v2vMs ?? 0, ...rows.map((row) => row.startMs + row.durationMs));
}

/**
 * The median of one row over all turns that have it.
 *
 * @type {(turns: readonly Turn[], name: string) => number | null}
 */
export function medianMs(turns, name) {
  const values = turns.flatMap((turn) => waterfallRows(turn).filter((row) => row.name === name));
  return median(values.map((row) => row.durationMs));
}

/** @type {(turns: readonly Turn[]) => number | null} */
export function medianV2vMs(turns) {
  return median(turns.flatMap((turn) => (turn.v2vMs === null ? [] : [turn.v2vMs])));
}

/**
 * The median of one span over all turns that have it, attempts in vain left out.
 *
 * @type {(turns: readonly Turn[], name: string) => number | null}
 */
export function medianSpanMs(turns, name) {
  const spans = turns.flatMap(({ trace }) => trace?.spans ?? []);
  return median(spans.filter((span) => span.name === name && !span.isInVain).map(({ durationMs }) => durationMs));
}

/** @type {(values: readonly number[]) => number | null} */
function median(values) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
