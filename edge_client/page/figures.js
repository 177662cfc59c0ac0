/** The connection's figures, for those who want to know. */

import { create } from "./elements.js";

/**
 * @typedef {import("./statistics.js").Statistics} Statistics
 * @typedef {[name: string, value: number | string | null, unit: string]} Figure
 */

export class Figures {
  #list;

  /** @param {HTMLDListElement} list */
  constructor(list) {
    this.#list = list;
  }

  /** @param {Statistics} statistics  of the last second */
  show(statistics) {
    /** @type {Figure[]} */
    const figures = [
      ["Round trip", statistics.roundTripMs, "ms"],
      ["Jitter buffer", statistics.jitterBufferMs, "ms"],
      ["Concealed sound", statistics.concealedMs, "ms/s"],
      ["Packets lost", statistics.packetsLost, ""],
      ["Output, after what is measured", statistics.outputMs, "ms"],
      ["Codec", statistics.codec, ""],
    ];
    this.#list.replaceChildren(...figures.flatMap(figureElements));
  }
}

/** @type {(figure: Figure) => HTMLElement[]} */
function figureElements([name, value, unit]) {
  return [create("dt", "", name), create("dd", "number", `${inWords(value)} ${unit}`)];
}

/** @type {(value: number | string | null) => string} */
function inWords(value) {
  if (typeof value !== "number") return value ?? "–";
  return value.toFixed(Number.isInteger(value) ? 0 : 1);
}
