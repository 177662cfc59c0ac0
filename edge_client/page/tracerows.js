/**
 * The spans of a trace as rows of a table: the very numbers of the trace, rounded for reading; in full, with all that
 * is known of a span, on hovering and in `data-` attributes.
 */

import { bar } from "./bar.js";
import { create, milliseconds } from "./elements.js";
import { spanKind, spanMeaning, spanWords } from "./spans.js";
import { unattributedMs, view } from "./trace.js";

/**
 * @typedef {import("./trace.js").Span} Span
 * @typedef {import("./trace.js").Trace} Trace
 * @typedef {import("./trace.js").Stretch} Stretch
 */

const UNATTRIBUTED = "Of voice to voice, what no phase of the trace explains";

/** @type {(trace: Trace, medianMs: (name: string) => number | null) => HTMLTableRowElement[]} */
export function traceRows(trace, medianMs) {
  const shown = view(trace);
  return [...trace.spans.map((span) => spanRow(span, shown, medianMs(span.name))), ...unattributedRow(trace)];
}

/** @type {(span: Span, shown: Stretch, medianMs: number | null) => HTMLTableRowElement} */
function spanRow(span, shown, medianMs) {
  const track = create("td", "track", spanBar(span, shown));
  const row = tableRow("span", nameCell(span), track, span.durationMs, span.isInVain ? null : medianMs);
  row.title = inFull(span);
  row.classList.toggle("in-vain", span.isInVain);
  Object.assign(row.dataset, {
    spanId: span.id,
    parentId: span.parentId,
    name: span.name,
    service: span.service,
    beginMs: String(span.beginMs),
    durationMs: String(span.durationMs),
    attributes: JSON.stringify(span.attributes),
  });
  return row;
}

/** @type {(span: Span) => HTMLElement} */
function nameCell({ name, depth, fate, error, isInVain }) {
  const words = create(isInVain ? "s" : "span", "span-name", spanWords(name));
  const remark = [fate, error && "error"].filter(Boolean).join(", ");
  const cell = create("th", "", words);
  if (remark) cell.append(" ", create("small", "fate", remark));
  else if (isInVain) cell.append(create("span", "visually-hidden", " (in vain)")); // like what it is a part of
  cell.scope = "row";
  cell.style.setProperty("--depth", String(depth));
  return cell;
}

/** @type {(span: Span, shown: Stretch) => HTMLElement} */
function spanBar({ name, beginMs, durationMs }, shown) {
  const scale = 100 / (shown.endMs - shown.beginMs);
  const start = (beginMs - shown.beginMs) * scale;
  return bar(spanKind(name), start, start + durationMs * scale);
}

/** @type {(trace: Trace) => HTMLTableRowElement[]} */
function unattributedRow(trace) {
  const ms = unattributedMs(trace);
  if (ms === null) return [];
  const name = create("th", "", "Unattributed");
  name.scope = "row";
  const row = tableRow("unattributed", name, create("td", "track"), ms, null);
  row.title = UNATTRIBUTED;
  row.dataset.durationMs = String(ms);
  return [row];
}

/** @type {(kind: string, name: HTMLElement, track: HTMLElement, ms: number, medianMs: number | null) => HTMLTableRowElement} */
function tableRow(kind, name, track, ms, medianMs) {
  const numbers = [milliseconds(ms), medianMs === null ? "" : milliseconds(medianMs)];
  return create("tr", kind, name, track, ...numbers.map((text) => create("td", "number", text)));
}

/** @type {(span: Span) => string} */
function inFull({ name, service, beginMs, durationMs, attributes, error }) {
  const lines = [
    `${name} · ${service}`,
    spanMeaning(name),
    `${durationMs} ms, from ${beginMs} ms on`,
    error && `error: ${error}`,
    ...Object.entries(attributes).map(([key, value]) => `${key}: ${inWords(value)}`),
  ];
  return lines.filter(Boolean).join("\n");
}

/** @type {(value: unknown) => string} */
const inWords = (value) => (typeof value === "string" ? value : JSON.stringify(value));
