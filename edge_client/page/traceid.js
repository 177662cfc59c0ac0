/** The id of a turn's trace, to look it up or to report it, and a button that copies it. */

import { setText } from "./elements.js";

const COPIED_MS = 2_000;

export class TraceId {
  #element;
  #id;
  #button;
  #timer = 0;

  /** @param {HTMLElement} element  with a <code> and a <button> in it */
  constructor(element) {
    this.#element = element;
    this.#id = /** @type {HTMLElement} */ (element.querySelector("code"));
    this.#button = /** @type {HTMLButtonElement} */ (element.querySelector("button"));
    this.#button.addEventListener("click", () => this.#copy());
  }

  /** @param {string} id  empty where there is no trace */
  show(id) {
    this.#element.hidden = id === "";
    if (this.#id.textContent === id) return;
    setText(this.#id, id);
    this.#id.title = id;
    this.#say("Copy");
  }

  async #copy() {
    const copied = await navigator.clipboard.writeText(this.#id.textContent ?? "").then(
      () => true,
      () => false,
    );
    if (!copied) getSelection()?.selectAllChildren(this.#id); // the browser forbids it: copying it is up to the person
    this.#say(copied ? "Copied" : "Selected");
    this.#timer = setTimeout(() => this.#say("Copy"), COPIED_MS);
  }

  /** @param {string} word */
  #say(word) {
    clearTimeout(this.#timer);
    setText(/** @type {HTMLElement} */ (this.#button.querySelector("span")), word);
  }
}
