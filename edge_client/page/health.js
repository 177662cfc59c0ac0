/**
 * How a connection is doing, and a way to wait until it does otherwise.
 *
 * @typedef {"opening" | "alive" | "silent" | "ended"} HealthState  silent: nothing arrives; it may come back to life
 */

export class Health {
  #state = /** @type {HealthState} */ ("opening");
  #fault = /** @type {unknown} */ (null);
  #waiting = /** @type {Set<() => void>} */ (new Set());

  get state() {
    return this.#state;
  }

  /** Why it is silent or ended. */
  get fault() {
    return this.#fault;
  }

  /**
   * What has ended stays so.
   *
   * @param {HealthState} state
   * @param {unknown} [fault]
   */
  become(state, fault = null) {
    if (this.#state === "ended" || this.#state === state) return;
    this.#state = state;
    this.#fault = fault;
    for (const look of [...this.#waiting]) look();
  }

  /**
   * Resolves with the first of these states that is reached, at once if it is the present one.
   *
   * @param {...HealthState} states
   * @returns {Promise<HealthState>}
   */
  until(...states) {
    return new Promise((resolve) => {
      const look = () => {
        if (!states.includes(this.#state)) return;
        this.#waiting.delete(look);
        resolve(this.#state);
      };
      this.#waiting.add(look);
      look();
    });
  }
}
