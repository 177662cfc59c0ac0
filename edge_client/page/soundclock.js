/**
 * Which moment of the page's clock a moment of the sound's is. Pure.
 *
 * Sound is computed stretch by stretch, and its clock stands still in between: who reads both clocks is late by up to
 * one stretch. The earliest of the last readings was taken right after one.
 */

const KEPT_READINGS = 32; // two ears tell their levels every 80 ms: more than a second

export class SoundClock {
  #offsetsMs = /** @type {number[]} */ ([]);

  /**
   * Both clocks were read at once.
   *
   * @param {number} soundSec
   * @param {number} pageMs
   */
  feed(soundSec, pageMs) {
    this.#offsetsMs.push(pageMs - soundSec * 1000);
    if (this.#offsetsMs.length > KEPT_READINGS) this.#offsetsMs.shift();
  }

  /** The sound's clock is going to rest. */
  forget() {
    this.#offsetsMs.length = 0;
  }

  /**
   * When the sound of that moment passed through the page; null before the first reading.
   *
   * @type {(soundSec: number) => number | null}
   */
  pageMs(soundSec) {
    return this.#offsetsMs.length ? soundSec * 1000 + Math.min(...this.#offsetsMs) : null;
  }
}
