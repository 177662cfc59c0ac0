/**
 * Keeps a call up until it is hung up. A connection that falls silent is doubted at once: another one is tried, which
 * goes on with the same session, while the old one may still come back to life. Where the session is gone too, a new
 * call is dialled after growing pauses.
 *
 * @typedef {object} LineCall
 * @property {import("./health.js").Health} health
 * @property {boolean} isResumable  another connection may go on with its session
 * @property {() => void} doubt  there is a reason to doubt that it still carries anything
 * @property {() => void} hangUp  ends the session
 * @property {() => void} close  ends the connection
 *
 * @typedef {"called" | "resumed" | "revived" | "moved"} Reached  a new session; the same over another connection; the
 * same call; the same session at another edge
 * `fault`: why the last attempt or call ended, null before the first.
 *
 * @typedef {{name: "idle"}
 *   | {name: "failed", fault: unknown}
 *   | {name: "connecting", attempt: number, fault: unknown}
 *   | {name: "live", reached: Reached}
 *   | {name: "reconnecting", fault: unknown}
 *   | {name: "waiting", attempt: number, delaySec: number, fault: unknown}} LineState
 * @typedef {(delaySec: number, signal: AbortSignal) => Promise<void>} Pause
 */

import { Disconnection, Refusal } from "./faults.js";

const FIRST_PAUSE_SEC = 0.5;
const LONGEST_PAUSE_SEC = 10;
const LONGEST_RESUME_PAUSE_SEC = 3; // the edge keeps a session for a minute, and somebody is in the middle of it
const MOST_REFUSALS = 5; // of attempts to go on with one session, while its connection may still come back
const STEADY_SEC = 10; // a call that lasted this long starts the count of attempts anew

/**
 * @param {number} attempt  0 for the first pause
 * @param {number} chance  in [0, 1); spreads the callers of a server that comes back
 */
export function backOffSec(attempt, chance, longestSec = LONGEST_PAUSE_SEC) {
  return Math.min(longestSec, FIRST_PAUSE_SEC * 2 ** attempt) * (0.8 + 0.4 * chance);
}

/** @template {LineCall} Call */
export class Line {
  /** The call in use, or the one whose session another connection is to go on with. */
  call = /** @type {Call | null} */ (null);
  #dial;
  #pause;
  #report;
  #now;
  #isLeaving;
  #hangUp = /** @type {AbortController | null} */ (null);
  #skipPause = new AbortController();

  /**
   * @param {object} parts
   * @param {(signal: AbortSignal, old: Call | null) => Promise<Call>} parts.dial  resolves when the offer was answered;
   * goes on with the session of `old`; leaves nothing behind when the signal fires
   * @param {(state: LineState) => void} parts.report
   * @param {Pause} [parts.pause]  returns early when the signal fires
   * @param {() => number} [parts.now]  seconds
   * @param {() => boolean} [parts.isLeaving]  the edge of the call is about to end: others answer already in its place,
   * who know nothing of its session
   */
  constructor({ dial, report, pause = sleep, now = () => performance.now() / 1000, isLeaving = () => false }) {
    this.#dial = dial;
    this.#report = report;
    this.#pause = pause;
    this.#now = now;
    this.#isLeaving = isLeaving;
  }

  /** Whether there is a call, or the next one is on its way. */
  get isOpen() {
    return this.#hangUp !== null;
  }

  /** Dials, and resolves when the line is hung up or nothing can be done about a fault. */
  async pickUp() {
    if (this.#hangUp) return;
    this.#hangUp = new AbortController();
    this.#skipPause = new AbortController();
    const last = await this.#keepUp(this.#hangUp.signal);
    this.call?.hangUp();
    this.call = null;
    this.#hangUp = null;
    this.#report(last);
  }

  hangUp() {
    this.#hangUp?.abort();
    this.#skipPause.abort();
  }

  /** The network may be another one: look whether the call is still there, or dial now instead of later. */
  hurry() {
    this.call?.doubt();
    this.#skipPause.abort();
  }

  /**
   * The edge of this call is about to end: a call that another one has taken over becomes the one in use. Resolves with
   * whether it has; not where this call is another one by then, or may no longer be left.
   *
   * @param {(signal: AbortSignal) => Promise<Call>} dial  resolves when the offer was answered
   * @param {() => Promise<boolean>} mayLeave  asked when the other call is there
   */
  async move(dial, mayLeave) {
    const old = this.call;
    const signal = this.#hangUp?.signal;
    if (!old || !signal || old.health.state !== "alive") return false;
    const next = await dial(signal);
    await Promise.race([next.health.until("alive", "ended"), aborted(signal)]);
    const isThere = next.health.state === "alive" && (await mayLeave());
    if (!isThere || signal.aborted || this.call !== old) {
      next.close();
      return false;
    }
    this.call = next;
    old.close();
    this.#report({ name: "live", reached: "moved" });
    return true;
  }

  /** @type {(signal: AbortSignal) => Promise<LineState>} */
  async #keepUp(signal) {
    let attempt = 0;
    let fault = /** @type {unknown} */ (null);
    while (!signal.aborted) {
      const since = await this.#reach(attempt, fault, signal).catch((caught) => void (fault = caught));
      if (since !== undefined) {
        fault = await this.#interruption(signal);
        if (this.#now() - since >= STEADY_SEC) attempt = 0;
      }
      if (signal.aborted) break;
      if (fault instanceof Refusal && fault.isFinal) return { name: "failed", fault };
      await this.#beforeNext(attempt++, fault, signal);
    }
    return { name: "idle" };
  }

  /**
   * Gets a call up, in whatever way, and resolves with the time from which it is.
   *
   * @type {(attempt: number, fault: unknown, signal: AbortSignal) => Promise<number>}
   */
  async #reach(attempt, fault, signal) {
    this.#report(this.call ? { name: "reconnecting", fault } : { name: "connecting", attempt, fault });
    try {
      const reached = await this.#connect(signal);
      this.#skipPause = new AbortController();
      this.#report({ name: "live", reached });
      return this.#now();
    } catch (caught) {
      if (!this.call || !isGone(caught)) throw caught;
      if (this.#mayComeBack(this.call, attempt)) throw new Disconnection(caught.message);
      this.#drop();
      return this.#reach(attempt, null, signal); // the session is over: a new call, as if there had been none
    }
  }

  /**
   * Whether the connection of a session that nobody else knows is worth waiting for: it may bring a ticket yet.
   *
   * @type {(call: Call, attempt: number) => boolean}
   */
  #mayComeBack(call, attempt) {
    return this.#isLeaving() && call.health.state !== "ended" && attempt < MOST_REFUSALS;
  }

  /** @type {(signal: AbortSignal) => Promise<Reached>} */
  async #connect(signal) {
    const old = this.call;
    if (old?.health.state !== "alive") await this.#raceForCall(old, signal);
    const call = /** @type {Call} */ (this.call);
    const state = await Promise.race([call.health.until("alive", "silent", "ended"), givenUp(signal)]);
    if (state !== "alive") throw this.#lapse();
    if (call === old) return "revived";
    return old ? "resumed" : "called";
  }

  /**
   * From the answer on, the new connection is the one that the edge speaks on; until then the old one may win.
   *
   * @type {(old: Call | null, signal: AbortSignal) => Promise<void>}
   */
  async #raceForCall(old, signal) {
    const attempt = new AbortController();
    const dialled = this.#dial(AbortSignal.any([signal, attempt.signal]), old);
    try {
      const winner = await Promise.race([dialled, revived(old), givenUp(signal)]);
      if (winner !== old) old?.close();
      this.call = winner;
    } finally {
      attempt.abort();
      dialled.then((call) => call !== this.call && call.close()).catch(() => {});
    }
  }

  /** @type {(signal: AbortSignal) => Promise<unknown>} */
  async #interruption(signal) {
    for (;;) {
      const call = this.call;
      await Promise.race([call?.health.until("silent", "ended"), aborted(signal)]);
      if (signal.aborted) return null;
      if (call === this.call) return this.#lapse(); // or else it was left for another one
    }
  }

  /** The call has failed, and is kept only if its session may go on. Returns what happened to it. */
  #lapse() {
    const call = /** @type {Call} */ (this.call);
    const fault = call.health.fault;
    if (!call.isResumable) this.#drop();
    return fault;
  }

  #drop() {
    this.call?.close();
    this.call = null;
  }

  /** @type {(attempt: number, fault: unknown, signal: AbortSignal) => Promise<void>} */
  async #beforeNext(attempt, fault, signal) {
    const call = this.call;
    const asked = fault instanceof Refusal ? fault.retryAfterSec : null;
    if (call && attempt === 0 && !asked) return; // a call that was steady is looked for at once
    const longestSec = call ? LONGEST_RESUME_PAUSE_SEC : LONGEST_PAUSE_SEC;
    const delaySec = asked ?? backOffSec(Math.max(0, call ? attempt - 1 : attempt), Math.random(), longestSec);
    this.#report(call ? { name: "reconnecting", fault } : { name: "waiting", attempt: attempt + 1, delaySec, fault });
    if (!signal.aborted) await Promise.race([this.#pause(delaySec, this.#skipPause.signal), revived(call)]);
    this.#skipPause.abort();
    this.#skipPause = new AbortController();
  }
}

/** The edge does not know the session any more. */
function isGone(/** @type {unknown} */ fault) {
  return fault instanceof Refusal && fault.status === 404;
}

/**
 * Resolves with the call when it has come back to life, which not every call does.
 *
 * @template {LineCall} Call
 * @param {Call | null} call
 * @returns {Promise<Call>}
 */
async function revived(call) {
  if (!call) return new Promise(() => {});
  await call.health.until("alive");
  return call;
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
    if (signal.aborted) resolve();
    const timer = setTimeout(resolve, delaySec * 1000);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
