/**
 * A turn's trace as the edge tells it: its spans in the order of a waterfall, and how much of the voice-to-voice time
 * they explain. Pure.
 *
 * @typedef {object} Span
 * @property {string} id
 * @property {string} parentId  empty for the root
 * @property {string} name
 * @property {string} service
 * @property {number} beginMs  after the last sample of speech reached the edge; before that it is negative
 * @property {number} durationMs
 * @property {Readonly<Record<string, unknown>>} attributes
 * @property {string} error  empty where nothing failed
 * @property {number} depth  0 for the root
 * @property {string} fate  what became of an attempt, in words; empty where it was told, and for all other spans
 * @property {boolean} isInVain  nobody heard anything of it, or of what it is a part of
 *
 * @typedef {object} Trace
 * @property {string} traceId
 * @property {readonly Span[]} spans  each before its children, those in the order of their beginnings
 *
 * @typedef {{beginMs: number, endMs: number}} Stretch
 */

/** The children of a turn that follow each other from the user's last sample to the first sound of the reply. */
export const WAY = [
  "network.uplink",
  "endpoint.wait",
  "answer.wait",
  "floor.wait",
  "codec.first_packet",
  "network.downlink",
  "jitter_buffer",
  "playout.first_audio",
];
const GAP_MS = 0.002; // spans are written so much shorter than they were
const ROUNDING_MS = 0.001;

const OUTCOME = "voice.attempt.outcome";
const TARGET = "voice.route.target";
const CUT = "cut off";

/** @type {Record<string, string>} */
const FATES = { rolled_back: "rolled back", cancelled: "cancelled", failed: "failed", refused: "refused" };

/**
 * @param {any} told  an `antiphon.turn.traced` event
 * @returns {Trace | null}  null where there is nothing to show
 */
export function readTrace(told) {
  const spans = Array.isArray(told.spans) ? told.spans.filter(isSpan) : [];
  if (spans.length === 0) return null;
  return { traceId: String(told.trace_id ?? ""), spans: inOrder(spans) };
}

/** @type {(told: any) => boolean} */
const isSpan = (told) =>
  typeof told?.span_id === "string" && Number.isFinite(told.begin_ms) && Number.isFinite(told.duration_ms);

/** @type {(told: readonly any[]) => Span[]} */
function inOrder(told) {
  const earliestFirst = told.toSorted((one, other) => one.begin_ms - other.begin_ms);
  const ids = new Set(told.map(({ span_id }) => span_id));
  const roots = earliestFirst.filter(({ parent_id }) => !ids.has(parent_id)); // the turn, or what a caller's own is above
  return roots.flatMap((root) => branch(root, earliestFirst, null));
}

/** @type {(told: any, all: readonly any[], parent: Span | null) => Span[]} */
function branch(told, all, parent) {
  const span = readSpan(told, parent);
  const children = all.filter(({ parent_id }) => parent_id === span.id);
  return [span, ...children.flatMap((child) => branch(child, all, span))];
}

/** @type {(told: any, parent: Span | null) => Span} */
function readSpan(told, parent) {
  const attributes = told.attributes ?? {};
  const fate = fateOf(attributes, parent);
  return {
    id: told.span_id,
    parentId: String(told.parent_id ?? ""),
    name: String(told.name),
    service: String(told.service ?? ""),
    beginMs: told.begin_ms,
    durationMs: told.duration_ms,
    attributes,
    error: String(told.error ?? ""),
    depth: parent ? parent.depth + 1 : 0,
    fate,
    isInVain: Boolean(parent?.isInVain) || (fate !== "" && fate !== CUT),
  };
}

/**
 * A reply that was cut while it was heard was cancelled too, and not in vain.
 *
 * @type {(attributes: any, parent: Span | null) => string}
 */
function fateOf(attributes, parent) {
  const fate = FATES[attributes[OUTCOME]] ?? "";
  const spoke = attributes[TARGET] !== undefined && attributes[TARGET] === parent?.attributes[TARGET];
  return attributes[OUTCOME] === "cancelled" && spoke ? CUT : fate;
}

/**
 * The time that a caller waits: from the user's last sample to the first sound of the reply, as near to mouth and ear
 * as it was measured; null for a turn that was typed, or never answered.
 *
 * @type {(trace: Trace) => Stretch | null}
 */
export function waited({ spans }) {
  const last = (/** @type {string} */ name) => spans.findLast((span) => span.name === name);
  const first = last("network.uplink") ?? last("endpoint.wait");
  const end = last("playout.first_audio") ?? last("codec.first_packet");
  if (!first || !end || endMs(end) <= first.beginMs) return null;
  return { beginMs: first.beginMs, endMs: endMs(end) };
}

/**
 * How much of that time belongs to no phase.
 *
 * @type {(trace: Trace) => number | null}
 */
export function unattributedMs(trace) {
  const whole = waited(trace);
  if (!whole) return null;
  let reachedMs = whole.beginMs;
  let missingMs = 0;
  const phases = trace.spans.filter(({ name }) => WAY.includes(name));
  for (const { beginMs, endMs } of [...phases.map(stretch).sort(byBeginning), { ...whole, beginMs: whole.endMs }]) {
    const holeMs = Math.min(beginMs, whole.endMs) - reachedMs;
    if (holeMs > ROUNDING_MS) missingMs += holeMs;
    reachedMs = Math.max(reachedMs, endMs + GAP_MS);
  }
  return missingMs;
}

/**
 * What a drawing of the trace shows: the wait and a little around it. Speech before it and sound after it are longer,
 * and go on beyond.
 *
 * @type {(trace: Trace) => Stretch}
 */
export function view(trace) {
  const { beginMs, endMs } = waited(trace) ?? work(trace);
  const margin = Math.max(1, endMs - beginMs) * 0.08;
  return { beginMs: beginMs - margin, endMs: endMs + margin };
}

/** All but what is heard, where nobody waited from one moment to another. @type {(trace: Trace) => Stretch} */
function work({ spans }) {
  const inner = spans.filter(({ name, depth }) => depth > 0 && name !== "playout").map(stretch);
  const shown = inner.length ? inner : spans.map(stretch);
  return {
    beginMs: Math.min(...shown.map(({ beginMs }) => beginMs)),
    endMs: Math.max(...shown.map(({ endMs }) => endMs)),
  };
}

/** @type {(span: Span) => number} */
const endMs = ({ beginMs, durationMs }) => beginMs + durationMs;

/** @type {(span: Span) => Stretch} */
const stretch = (span) => ({ beginMs: span.beginMs, endMs: endMs(span) });

/** @type {(one: Stretch, other: Stretch) => number} */
const byBeginning = (one, other) => one.beginMs - other.beginMs;
