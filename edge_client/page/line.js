/**
 * Keeps a call up until it is hung up: dials, waits for the end of the call, and dials again after growing pauses.
 *
 * @typedef {{ended: Promise<Error>, close: () => void}} LineCall
 * `fault`: why the last attempt or call ended, null before the first.
 *
 * @typedef {{name: "idle"}
 *   | {name: "failed", fault: unknown}
 *   | {name: "connecting", attempt: number, fault: unknown}
 *   | {name: "live", again: boolean}
 *   | {name: "waiting", attempt: number, delaySec: number, fault: unknown}} LineState
 * @typedef {(signal: AbortSignal) => Promise<LineCall>} Dial  leaves nothing behind when the signal fires
 * @typedef {(delaySec: number, signal: AbortSignal) => Promise<void>} Pause
 */

import { Refusal } from "./faults.js";

const FIRST_PAUSE_SEC = 0.5;
const LONGEST_PAUSE_SEC = 10;
const STEADY_SEC = 10; // a call that lasted this long starts the count of attempts anew

/**
 * @param {number} attempt  0 for the first pause
 * @param {number} chance  in [0, 1); spreads the callers of a server that comes back
 */
export function backOffSec(attempt, chance) {
  return Math.min(LONGEST_PAUSE_SEC, FIRST_PAUSE_SEC * 2 ** attempt) * (0.8 + 0.4 * chance);
}

export class Line {
  #dial;
  #pause;
  #report;
  #now;
  #hangUp = /** @type {AbortController | null} */ (null);
  #skipPause = new AbortController();

  /**
   * @param {object} parts
   * @param {Dial} parts.dial
   * @param {(state: LineState) => void} parts.report
   * @param {Pause} [parts.pause]  returns early when the signal fires
   * @param {() => number} [parts.now]  seconds
   */
  constructor({ dial, report, pause = sleep, now = () => performance.now() / 1000 }) {
    this.#dial = dial;
    this.#report = report;
    this.#pause = pause;
    this.#now = now;
  }

  get isOpen() {
    return this.#hangUp !== null;
  }

  /** Resolves when the line is down for good: hung up, or refused in a way that no second attempt cures. */
  async pickUp() {
    if (this.#hangUp) return;
    this.#hangUp = new AbortController();
    const last = await this.#keepUp(this.#hangUp.signal);
    this.#hangUp = null;
    this.#report(last);
  }

  hangUp() {
    this.#hangUp?.abort();
    this.#skipPause.abort();
  }

  /** Dial now if the line is waiting to dial again. */
  hurry() {
    this.#skipPause.abort();
  }

  /** @type {(signal: AbortSignal) => Promise<LineState>} */
  async #keepUp(signal) {
    let attempt = 0;
    let fault = /** @type {unknown} */ (null);
    for (let again = false; !signal.aborted; again = true) {
      this.#report({ name: "connecting", attempt, fault });
      const end = await this.#oneCall(signal, again);
      if (signal.aborted) break;
      fault = end.fault;
      if (fault instanceof Refusal && fault.isFinal) return { name: "failed", fault };
      if (end.lastedSec >= STEADY_SEC) attempt = 0;
      await this.#waitToDial(attempt++, fault, signal);
    }
    return { name: "idle" };
  }

  /** @type {(signal: AbortSignal, again: boolean) => Promise<{fault: unknown, lastedSec: number}>} */
  async #oneCall(signal, again) {
    let since = this.#now();
    try {
      const call = await Promise.race([this.#dial(signal), givenUp(signal)]);
      since = this.#now();
      this.#report({ name: "live", again });
      const fault = await Promise.race([call.ended, aborted(signal)]);
      call.close();
      return { fault, lastedSec: this.#now() - since };
    } catch (fault) {
      return { fault, lastedSec: 0 };
    }
  }

  /** @type {(attempt: number, fault: unknown, signal: AbortSignal) => Promise<void>} */
  async #waitToDial(attempt, fault, signal) {
    const asked = fault instanceof Refusal ? fault.retryAfterSec : null;
    const delaySec = asked ?? backOffSec(attempt, Math.random());
    this.#report({ name: "waiting", attempt: attempt + 1, delaySec, fault });
    this.#skipPause = new AbortController();
    if (!signal.aborted) await this.#pause(delaySec, this.#skipPause.signal);
  }
}

/** @type {(signal: AbortSignal) => Promise<void>} */
function aborted(signal) {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** @type {(signal: AbortSignal) => Promise<never>} */
async function givenUp(signal) {
  await aborted(signal);
  throw signal.reason;
}

/** @type {Pause} */
function sleep(delaySec, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, delaySec * 1000);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
