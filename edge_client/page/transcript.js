/** The captions on the page. Each caption keeps its element, so that a screen reader hears only what is new. */

import { create, icon, setText } from "./elements.js";

/**
 * @typedef {import("./captions.js").Caption} Caption
 * @typedef {{item: HTMLLIElement, heard: HTMLElement, unheard: HTMLElement, note: HTMLElement}} Line
 */

const SPEAKERS = { near: "You", far: "Antiphon", notice: "" };
const NEAR_THE_END_PX = 80;

export class Transcript {
  #list;
  #scroller;
  #lines = /** @type {Map<string, Line>} */ (new Map());
  #follows = true; // until the person scrolls back

  /**
   * @param {HTMLOListElement} list
   * @param {HTMLElement} scroller
   */
  constructor(list, scroller) {
    this.#list = list;
    this.#scroller = scroller;
    scroller.addEventListener("scroll", () => (this.#follows = this.#isAtEnd()));
    new ResizeObserver(() => this.#follow()).observe(scroller);
  }

  /**
   * @param {readonly Caption[]} captions
   * @param {(caption: Caption) => string} noteOf  a few words beside a caption, or none
   */
  show(captions, noteOf) {
    const worded = captions.filter(({ text, unheard, status }) => text || unheard || status === "cut");
    this.#dropExcept(new Set(worded.map(({ id }) => id)));
    worded.forEach((caption, position) => this.#showOne(caption, position, noteOf(caption)));
    this.#follow();
  }

  #follow() {
    if (this.#follows) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_THE_END_PX;
  }

  /** @param {Set<string>} ids */
  #dropExcept(ids) {
    for (const [id, { item }] of this.#lines) {
      if (ids.has(id)) continue;
      item.remove();
      this.#lines.delete(id);
    }
  }

  /** @type {(caption: Caption, position: number, note: string) => void} */
  #showOne(caption, position, note) {
    const line = this.#lines.get(caption.id) ?? this.#add(caption);
    if (this.#list.children[position] !== line.item) {
      this.#list.insertBefore(line.item, this.#list.children[position] ?? null);
    }
    line.item.dataset.status = caption.status;
    line.item.setAttribute("aria-busy", String(caption.status === "partial"));
    setText(line.heard, caption.text);
    setText(line.unheard, caption.unheard);
    line.unheard.hidden = caption.unheard === "";
    setText(line.note, caption.status === "cut" ? ["cut off", note].filter(Boolean).join(" · ") : note);
  }

  /** @type {(caption: Caption) => Line} */
  #add({ id, voice }) {
    const heard = create("span", "heard");
    const unheard = create("del", "unheard");
    const words = create("p", "words", heard, unheard);
    const note = create("p", "note");
    const speaker = create("p", "speaker", SPEAKERS[voice]);
    const item = create("li", `caption ${voice}`, ...(voice === "notice" ? [words] : [icon(voice), speaker, words, note]));
    const line = { item, heard, unheard, note };
    this.#lines.set(id, line);
    return line;
  }
}
