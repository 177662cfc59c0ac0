/** A stretch of time as a bar on a track. */

import { create } from "./elements.js";

/**
 * What lies beyond the track is left out; what lies there as a whole stays as a stroke at its end.
 *
 * @param {string} kind
 * @param {number} start  in percent of the track
 * @param {number} end
 */
export function bar(kind, start, end) {
  const element = create("span", `bar ${kind}`);
  const from = within(start);
  element.style.setProperty("--start", `${from}%`);
  element.style.setProperty("--length", `${Math.max(0, within(end) - from)}%`);
  return element;
}

/** @type {(percent: number) => number} */
const within = (percent) => Math.min(100, Math.max(0, percent));
