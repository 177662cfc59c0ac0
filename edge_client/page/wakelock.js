/** Keeps a phone's screen on during a call: a sleeping page stops hearing. */

export class WakeLock {
  #isWanted = false;
  #sentinel = /** @type {WakeLockSentinel | null} */ (null);

  constructor() {
    // The browser takes the lock back whenever the page is hidden.
    document.addEventListener("visibilitychange", () => this.#isWanted && this.request());
  }

  async request() {
    this.#isWanted = true;
    if (document.hidden || !("wakeLock" in navigator)) return;
    this.#sentinel = await navigator.wakeLock.request("screen").catch(() => null); // refused on a low battery
  }

  release() {
    this.#isWanted = false;
    this.#sentinel?.release();
    this.#sentinel = null;
  }
}
