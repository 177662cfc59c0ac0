/**
 * The call as a line of square notes on a four-line stave: a note for every 80 ms of sound, the louder the higher, the
 * near voice in red and the far one in blue. The gap between them is the voice-to-voice time, and is written under it.
 *
 * @typedef {"near" | "far"} Voice
 * @typedef {{voice: Voice, at: number, db: number}} Note
 * @typedef {{offAt: number, onAt: number, ms: number}} Gap
 */

import { levelPercent } from "./meter.js";

const PX_PER_SEC = 84;
const NOTE_PX = 6;
const FAINTEST_PERCENT = 12;
const STEPS = 8; // four lines and the spaces around them
const LONGEST_SEC = 40;

/** What the stave shows before the first call: a short versicle and its response. */
const INCIPIT = [
  ...[2, 3, 4, 4, 5, 4, 3, 4].map((step, n) => ({ voice: /** @type {Voice} */ ("near"), n, step })),
  ...[4, 5, 6, 5, 4, 3, 4, 3, 2, 2].map((step, n) => ({ voice: /** @type {Voice} */ ("far"), n: n + 11, step })),
];
const INCIPIT_NOTES = 21;

export class Stave {
  #canvas;
  #context;
  #reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
  #notes = /** @type {Note[]} */ ([]);
  #gaps = /** @type {Gap[]} */ ([]);
  #clock = /** @type {(() => number) | null} */ (null);
  #width = 0;
  #height = 0;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    new ResizeObserver(() => this.#resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /** @param {Note} note */
  add(note) {
    if (levelPercent(note.db) < FAINTEST_PERCENT) return;
    this.#notes.push(note);
    while (this.#notes[0].at < note.at - LONGEST_SEC) this.#notes.shift();
  }

  /** @param {Gap} gap */
  mark(gap) {
    this.#gaps.push(gap);
    while (this.#gaps[0].onAt < gap.onAt - LONGEST_SEC) this.#gaps.shift();
  }

  /** @param {() => number} clock  seconds, the one the notes were timed by */
  start(clock) {
    const wasStill = this.#clock === null;
    this.#clock = clock;
    if (wasStill) this.#tick();
  }

  /** Keeps what is written. */
  stop() {
    this.#clock = null;
  }

  #tick() {
    if (!this.#clock) return;
    this.#draw();
    requestAnimationFrame(() => this.#tick());
  }

  #resize() {
    const ratio = devicePixelRatio;
    this.#width = this.#canvas.clientWidth;
    this.#height = this.#canvas.clientHeight;
    this.#canvas.width = Math.round(this.#width * ratio);
    this.#canvas.height = Math.round(this.#height * ratio);
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#draw();
  }

  #draw() {
    const style = getComputedStyle(this.#canvas);
    this.#context.clearRect(0, 0, this.#width, this.#height);
    this.#drawLines(style);
    if (!this.#clock && this.#notes.length === 0) return this.#drawIncipit(style);
    this.#drawGaps(style);
    this.#drawNotes(style);
  }

  /** @param {CSSStyleDeclaration} style */
  #drawLines(style) {
    this.#context.fillStyle = style.getPropertyValue("--stave");
    for (const step of [1, 3, 5, 7]) this.#context.fillRect(0, Math.round(this.#y(step)), this.#width, 1);
  }

  /** @param {CSSStyleDeclaration} style */
  #drawNotes(style) {
    for (const { voice, at, db } of this.#notes) {
      const x = this.#x(at);
      if (x < -NOTE_PX || x > this.#width) continue;
      this.#context.fillStyle = style.getPropertyValue(`--${voice}`);
      const share = (levelPercent(db) - FAINTEST_PERCENT) / (100 - FAINTEST_PERCENT);
      this.#drawNote(x - NOTE_PX, Math.round(share * STEPS));
    }
  }

  /** @param {CSSStyleDeclaration} style */
  #drawIncipit(style) {
    const pitch = Math.min(18, this.#width / (INCIPIT_NOTES + 4));
    const left = (this.#width - INCIPIT_NOTES * pitch) / 2;
    for (const { voice, n, step } of INCIPIT) {
      this.#context.fillStyle = style.getPropertyValue(`--${voice}`);
      this.#drawNote(left + n * pitch, step);
    }
  }

  /** @type {(x: number, step: number) => void} */
  #drawNote(x, step) {
    this.#context.fillRect(Math.round(x), Math.round(this.#y(step) - NOTE_PX / 2), NOTE_PX, NOTE_PX);
  }

  /** @param {CSSStyleDeclaration} style */
  #drawGaps(style) {
    const y = this.#height - 14;
    this.#context.font = style.font;
    this.#context.textAlign = "center";
    this.#context.strokeStyle = this.#context.fillStyle = style.color;
    for (const { offAt, onAt, ms } of this.#gaps) this.#drawGap(this.#x(offAt), this.#x(onAt), y, ms);
  }

  /** @type {(left: number, right: number, y: number, ms: number) => void} */
  #drawGap(left, right, y, ms) {
    if (right < 0 || left > right) return;
    this.#context.beginPath();
    this.#context.moveTo(left + 0.5, y - 6);
    this.#context.lineTo(left + 0.5, y - 2.5);
    this.#context.lineTo(right - 0.5, y - 2.5);
    this.#context.lineTo(right - 0.5, y - 6);
    this.#context.stroke();
    this.#context.fillText(`${Math.round(ms)} ms`, (left + right) / 2, y + 10);
  }

  /** @type {(step: number) => number} */
  #y(step) {
    const top = 10;
    const bottom = this.#height - 28;
    return bottom - (step / STEPS) * (bottom - top);
  }

  /**
   * The newest note is at the right and the line moves; where motion is unwelcome the line stands still and is written
   * from left to right, page after page.
   *
   * @type {(at: number) => number}
   */
  #x(at) {
    const now = this.#clock?.() ?? this.#notes.at(-1)?.at ?? 0;
    if (!this.#reducedMotion.matches) return this.#width - (now - at) * PX_PER_SEC;
    const pageSec = this.#width / PX_PER_SEC;
    return (at - Math.floor(now / pageSec) * pageSec) * PX_PER_SEC;
  }
}
