/**
 * What it takes to go on with a session over another connection, and to hear none of it twice. It passes from each
 * connection of a session to the next.
 */

const TOKEN = "Antiphon-Resume";
const LAST_EVENT = "Antiphon-Last-Event";
const REMEMBERED_EVENTS = 4_000; // more than the edge keeps to send again

export class Resumption {
  #token = /** @type {string | null} */ (null);
  #lastEvent = /** @type {string | null} */ (null);
  #seen = /** @type {Set<string>} */ (new Set());

  /** Whether a session has begun that the edge would go on with. */
  get isPossible() {
    return this.#token !== null && this.#lastEvent !== null;
  }

  /**
   * For the offer of the next connection.
   *
   * @returns {Record<string, string>}
   */
  get headers() {
    return this.#token && this.#lastEvent ? { [TOKEN]: this.#token, [LAST_EVENT]: this.#lastEvent } : {};
  }

  /** @param {Headers} headers  of the answer */
  follow(headers) {
    this.#token = headers.get(TOKEN);
  }

  /**
   * Takes note of an event that arrived. The edge sends again what may have been lost, and what was on its way over
   * the old connection may still arrive there.
   *
   * @param {{event_id?: unknown}} event
   * @returns {boolean}  whether it is news
   */
  admit({ event_id: id }) {
    if (typeof id !== "string") return true;
    if (this.#seen.has(id)) return false;
    this.#lastEvent = id;
    this.#seen.add(id);
    if (this.#seen.size > REMEMBERED_EVENTS) this.#forgetOldest();
    return true;
  }

  #forgetOldest() {
    for (const oldest of this.#seen) {
      this.#seen.delete(oldest);
      return;
    }
  }
}
