/**
 * What an edge that is about to end offers: a ticket, with which another one goes on with the session. It is for the
 * session as it was, so it is good until something is said; then another one comes. Pure: time is passed in.
 */

const OUTDATING = ["input_audio_buffer.speech_started", "input_audio_buffer.committed", "response.created"];
const GOOD_MS = 110_000; // what a ticket is good for at least

export class Invitation {
  /** Whether the edge has said that it will end. */
  isDraining = false;
  #ticket = /** @type {string | null} */ (null);
  #cameAtMs = 0;

  /**
   * @param {any} event  from the edge
   * @param {number} nowMs
   * @returns {boolean}  whether a ticket has come
   */
  take(event, nowMs) {
    if (OUTDATING.includes(event.type)) this.#ticket = null;
    if (event.type === "antiphon.server.draining") this.isDraining = true;
    if (event.type !== "antiphon.session.ticket") return false;
    this.#ticket = String(event.ticket);
    this.#cameAtMs = nowMs;
    return true;
  }

  /** It was used, or is no good. */
  forget() {
    this.#ticket = null;
  }

  /** @param {number} nowMs */
  ticket(nowMs) {
    return nowMs - this.#cameAtMs < GOOD_MS ? this.#ticket : null;
  }
}
