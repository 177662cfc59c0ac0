/**
 * Tells a link that carries something from one that does not, by how much has arrived. Pure: time is passed in, in
 * seconds, on a clock that goes on while the computer sleeps.
 */

export const PATIENCE_SEC = 3; // sound comes fifty times a second, and checks of the link every 3 s where it does not
export const DOUBT_SEC = 1; // enough where there is a reason to doubt, such as another network

export class Pulse {
  #arrivals = -1;
  #since = 0;
  #patienceSec = PATIENCE_SEC;

  /** There is a reason to doubt the link: give it little time to prove itself. */
  doubt() {
    this.#patienceSec = DOUBT_SEC;
  }

  /**
   * @param {number} arrivals  grows with everything that arrives
   * @param {number} now
   * @returns {boolean}  whether the link is alive
   */
  feed(arrivals, now) {
    if (arrivals !== this.#arrivals) {
      this.#arrivals = arrivals;
      this.#since = now;
      this.#patienceSec = PATIENCE_SEC;
    }
    return now - this.#since < this.#patienceSec;
  }
}
