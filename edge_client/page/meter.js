/** A level as a bar. Assistive technology gets the value too, without being told of every change. */

const QUIETEST_DB = -60;

/** @type {(db: number) => number} */
export function levelPercent(db) {
  return Math.round(Math.min(1, Math.max(0, 1 - db / QUIETEST_DB)) * 100);
}

export class Meter {
  #element;

  /** @param {HTMLElement} element  with the role "meter" */
  constructor(element) {
    this.#element = element;
  }

  /** @param {number} db */
  show(db) {
    const percent = levelPercent(db);
    this.#element.setAttribute("aria-valuenow", String(percent));
    this.#element.style.setProperty("--level", String(percent / 100));
  }
}
