/**
 * Tells the edge what was measured of each turn, once, and by pings how its clock differs from the page's. An edge that
 * knows nothing of either says so once, and is left in peace.
 */

import { EdgeClock } from "./clock.js";
import { isComplete, reportOf } from "./report.js";
import { pingClock, reportTurn } from "./requests.js";

const FIRST_PINGS = 5;
const PING = "aside_ping"; // the ids of requests that are no part of the conversation begin so
const REPORT = "aside_report";
const MOVED = "page.session.moved";

/** The page's own: the session goes on at another edge. */
export const MOVED_EVENT = Object.freeze({ type: MOVED });

/**
 * @typedef {import("./requests.js").Request} Request
 *
 * @typedef {object} ReporterParts
 * @property {(request: Request) => void} send  now or never
 * @property {(request: Request) => void} ask  now, or when there is somebody to hear it
 * @property {() => number} now  milliseconds since 1970 on the page's clock
 */

export class Reporter {
  #clock = new EdgeClock();
  #pingsLeft = 0;
  #asides = 0;
  #isUnderstood = true;
  #told = /** @type {Set<string>} */ (new Set());
  #parts;

  /** @param {ReporterParts} parts */
  constructor(parts) {
    this.#parts = parts;
  }

  /**
   * Takes what the edge answers to pings and reports, and nobody else wants to know.
   *
   * @param {any} event  from the edge
   * @returns {boolean}  whether it was such an answer
   */
  take(event) {
    if (event.type === "antiphon.clock.pong") this.#takePong(event);
    else return event.type === "error" && this.#isRefused(String(event.error.event_id));
    return true;
  }

  /** @type {(event: any, turns: readonly import("./turns.js").Turn[]) => void} */
  follow(event, turns) {
    if (event.type === "session.created" || event.type === MOVED) this.#begin();
    if (event.type === "response.created") this.#ping();
    for (const turn of turns) if (isComplete(turn)) this.#report(turn);
  }

  /** A new session may be one with another edge. */
  #begin() {
    this.#clock = new EdgeClock();
    this.#isUnderstood = true;
    this.#pingsLeft = FIRST_PINGS - 1;
    this.#ping();
  }

  /** @param {any} pong */
  #takePong(pong) {
    this.#clock.feed(pong, this.#parts.now());
    if (this.#pingsLeft <= 0) return;
    this.#pingsLeft -= 1;
    this.#ping(); // one after the other: they would else wait for each other on the way
  }

  /**
   * Who refuses a ping knows nothing of all this. A report may be of a turn that the edge has forgotten.
   *
   * @param {string} id
   */
  #isRefused(id) {
    if (id.startsWith(PING)) this.#isUnderstood = false;
    return id.startsWith(PING) || id.startsWith(REPORT);
  }

  #ping() {
    if (this.#isUnderstood) this.#parts.send(this.#aside(PING, pingClock(this.#parts.now())));
  }

  /** @param {import("./turns.js").Turn} turn */
  #report(turn) {
    if (this.#told.has(turn.responseId) || !this.#isUnderstood) return;
    this.#told.add(turn.responseId);
    this.#parts.ask(this.#aside(REPORT, reportTurn(reportOf(turn, this.#clock.reading(this.#parts.now())))));
  }

  /** @type {(kind: string, request: Request) => Request} */
  #aside(kind, request) {
    this.#asides += 1;
    return { ...request, event_id: `${kind}_${this.#asides}` };
  }
}
