/** Draws where the time of a turn went, with the median over the call beside it. */

import { create, milliseconds, setText } from "./elements.js";
import { speakers } from "./placement.js";
import { bar } from "./bar.js";
import { TraceId } from "./traceid.js";
import { traceRows } from "./tracerows.js";
import { EXPECTED, headlineRows, isMeasured, medianMs, medianSpanMs, medianV2vMs, spanMs, waterfallRows } from "./turns.js";

/**
 * @typedef {import("./turns.js").Turn} Turn
 * @typedef {import("./turns.js").Row} Row
 *
 * @typedef {object} WaterfallElements
 * @property {HTMLElement} panel  carries data-empty until there is something to show
 * @property {HTMLElement} v2v
 * @property {HTMLElement} v2vMedian
 * @property {HTMLElement} title
 * @property {HTMLElement} placement
 * @property {HTMLTableSectionElement} rows
 * @property {HTMLElement} reception
 * @property {HTMLElement} trace  with the turn's trace id in a <code>, and a button
 * @property {HTMLOListElement} chooser
 */

/** @type {Record<string, string>} */
const ROW_NAMES = {
  endpoint_wait: "Endpoint wait",
  ttfa: "TTFA",
  network_playout: "Network, playout",
  voice_to_voice: "Voice to voice",
  jitter_buffer: "in it: jitter buffer",
  output: "after it: output",
  heard: "Heard after",
  transcribe: "Transcribe",
  judge_text: "Judge the words",
  match: "Match a skill",
  first_text: "First words",
  first_audio: "First sound",
};

/** @type {Record<string, string>} */
const ROW_MEANINGS = {
  endpoint_wait: "From your last sound until the edge decided that you had finished",
  ttfa: "Time to first audio: from that decision until the first sound left the edge",
  network_playout: "The rest of voice to voice: network, jitter buffers, playout",
  jitter_buffer: "How long the browser kept the sound of this reply, to play it without gaps",
  output: "What the browser says that the way to the loudspeaker takes, after what the page can measure",
  heard: "Voice to voice and the output: when the sound reached your ear",
  expected: "What the edge predicted of who answered: endpoint wait and TTFA, without the network to you",
  passed: "What the edge predicted of one that did not answer this turn",
};

/** @type {Record<string, string>} */
const END_REASONS = {
  semantic: "it sounded finished",
  silence: "silence",
  timeout: "the longest wait was over",
  commit: "you let go",
  length: "it grew too long",
};

export class Waterfall {
  #elements;
  #traceId;
  #given = /** @type {readonly Turn[]} */ ([]);
  #turns = /** @type {readonly Turn[]} */ ([]);
  #chosen = /** @type {string | null} */ (null); // null follows the latest turn

  /** @param {WaterfallElements} elements */
  constructor(elements) {
    this.#elements = elements;
    this.#traceId = new TraceId(elements.trace);
    elements.chooser.addEventListener("click", ({ target }) => this.#choose(target));
  }

  /** @param {readonly Turn[]} turns  the same list where nothing has changed: what is read just now stays where it is */
  show(turns) {
    if (turns === this.#given) return;
    this.#given = turns;
    this.#turns = turns.filter(isMeasured);
    this.#show();
  }

  #show() {
    const shown = this.#turns.find(({ responseId }) => responseId === this.#chosen) ?? this.#turns.at(-1);
    const { panel, v2v, v2vMedian } = this.#elements;
    panel.toggleAttribute("data-empty", !shown);
    setText(v2v, milliseconds(shown?.v2vMs ?? null));
    setText(v2vMedian, milliseconds(medianV2vMs(this.#turns)));
    this.#showChooser(shown);
    if (shown) this.#showTurn(shown);
  }

  /** @param {EventTarget | null} target */
  #choose(target) {
    const button = target instanceof Element ? target.closest("button") : null;
    if (!button) return;
    const id = button.dataset.response ?? null;
    this.#chosen = id === this.#turns.at(-1)?.responseId ? null : id;
    this.#show();
  }

  /** @param {Turn} turn */
  #showTurn(turn) {
    const { title, placement, rows, reception } = this.#elements;
    setText(title, `Turn ${this.#turns.indexOf(turn) + 1}`);
    setText(placement, describe(turn));
    setText(reception, describeReception(turn));
    this.#traceId.show(turn.traceId);
    const scale = 100 / spanMs(turn);
    const spans = turn.trace ? traceRows(turn.trace, (name) => medianSpanMs(this.#turns, name)) : [];
    rows.replaceChildren(...waterfallRows(turn).map((row) => this.#row(row, scale)), ...spans);
  }

  /** @type {(row: Row, scale: number) => HTMLTableRowElement} */
  #row(row, scale) {
    const name = create("th", "", rowName(row.name));
    name.scope = "row";
    name.title = ROW_MEANINGS[row.kind] ?? ROW_MEANINGS[row.name] ?? "";
    const cells = [milliseconds(row.durationMs), milliseconds(medianMs(this.#turns, row.name))];
    const numbers = cells.map((text) => create("td", "number", text));
    const element = create("tr", row.kind, name, create("td", "track", rowBar(row, scale)), ...numbers);
    element.dataset.row = row.name;
    return element;
  }

  /** @param {Turn | undefined} shown */
  #showChooser(shown) {
    const widest = Math.max(...this.#turns.map(spanMs));
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.response : undefined;
    const buttons = this.#turns.map((turn, n) => turnButton(turn, n, turn === shown, 100 / widest));
    const latestFirst = buttons.toReversed().map((button) => create("li", "", button));
    this.#elements.chooser.replaceChildren(...latestFirst);
    buttons.find((button) => button.dataset.response === focused)?.focus();
  }
}

/** @type {(turn: Turn, n: number, isShown: boolean, scale: number) => HTMLButtonElement} */
function turnButton(turn, n, isShown, scale) {
  const bars = headlineRows(turn).map((row) => rowBar(row, scale));
  const number = create("span", "number", turn.v2vMs === null ? "typed" : `${milliseconds(turn.v2vMs)} ms`);
  const label = create("span", "turn-number", create("span", "visually-hidden", "Turn "), String(n + 1));
  const backend = create("span", "turn-backend", turn.placement?.backends.at(-1) ?? "");
  const button = create("button", "turn", label, create("span", "track", ...bars), backend, number);
  button.type = "button";
  button.dataset.response = turn.responseId;
  button.setAttribute("aria-pressed", String(isShown));
  return button;
}

/** @type {(row: Row, scale: number) => HTMLElement} */
const rowBar = ({ kind, startMs, durationMs }, scale) => bar(kind, startMs * scale, (startMs + durationMs) * scale);

/** @type {(turn: Turn) => string} */
function describeReception({ reception }) {
  if (!reception) return "";
  const parts = [
    `${milliseconds(reception.concealedMs)} ms concealed`,
    `${reception.packetsLost ?? "–"} packets lost`,
    `round trip ${milliseconds(reception.roundTripMs)} ms`,
  ];
  return parts.join(" · ");
}

/** @type {(name: string) => string} */
function rowName(name) {
  if (name.startsWith(EXPECTED)) return `Predicted: ${name.slice(EXPECTED.length)}`;
  const words = name.replaceAll("_", " ");
  return ROW_NAMES[name] ?? words.charAt(0).toUpperCase() + words.slice(1);
}

/** @type {(turn: Turn) => string} */
function describe({ placement, endReason }) {
  const parts = [];
  if (placement) parts.push(`answered by ${speakers(placement)}`);
  if (placement?.reason) parts.push(placement.reason);
  if (endReason) parts.push(`ended by: ${END_REASONS[endReason] ?? endReason}`);
  return parts.join(" · ");
}
