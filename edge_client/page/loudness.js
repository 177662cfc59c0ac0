/**
 * Tells sound from silence in one stream, by energy alone. The same detector hears the microphone and the reply, so
 * that what it adds to one end of a measurement it also adds to the other.
 *
 * Pure: time is the number of samples fed, and nothing here knows about Web Audio.
 *
 * @typedef {{type: "on", at: number}} SoundOn  `at`: the first loud sample, in seconds
 * @typedef {{type: "off", at: number}} SoundOff  `at`: just after the last loud sample, in seconds
 * @typedef {{type: "level", at: number, db: number}} Level  the loudest window of the last 80 ms, in dBFS
 * @typedef {SoundOn | SoundOff | Level} SoundReport
 */

const WINDOW_SAMPLES = 256; // 5.3 ms at 48 kHz
const ONSET_SEC = 0.02; // shorter than this is a click
const HANG_SEC = 0.2; // silence inside a word is shorter than this
const LEVEL_SEC = 0.08;
const QUIETEST_DB = -100;
const LOWEST_THRESHOLD_DB = -50;
const HIGHEST_THRESHOLD_DB = -30;
const ABOVE_FLOOR_DB = 15;
const FLOOR_RISE_DB_PER_SEC = 2;

export class Loudness {
  #windowSec;
  #energy = 0;
  #filled = 0;
  #floorDb = QUIETEST_DB;
  #peakDb = QUIETEST_DB;
  #levelSince = /** @type {number | null} */ (null);
  #loudSince = /** @type {number | null} */ (null);
  #lastLoudEnd = 0;
  #isOn = false;

  /** @param {number} sampleRate */
  constructor(sampleRate) {
    this.#windowSec = WINDOW_SAMPLES / sampleRate;
  }

  /**
   * @param {Float32Array | undefined} samples  undefined where the stream has nothing to give
   * @param {number} count  how many samples passed
   * @param {number} endSec  the time just after the last of them
   * @returns {SoundReport[]}
   */
  feed(samples, count, endSec) {
    if (samples) for (const sample of samples) this.#energy += sample * sample;
    this.#filled += count;
    if (this.#filled < WINDOW_SAMPLES) return [];
    const db = decibels(this.#energy / this.#filled);
    this.#energy = 0;
    this.#filled = 0;
    return this.#judge(db, endSec);
  }

  /** @type {(db: number, endSec: number) => SoundReport[]} */
  #judge(db, endSec) {
    const isLoud = db > this.#threshold(db);
    const change = isLoud ? this.#loud(endSec) : this.#quiet(endSec);
    return [...change, ...this.#level(db, endSec)];
  }

  #threshold(/** @type {number} */ db) {
    this.#floorDb = Math.min(db, this.#floorDb + FLOOR_RISE_DB_PER_SEC * this.#windowSec);
    const threshold = this.#floorDb + ABOVE_FLOOR_DB;
    return Math.min(HIGHEST_THRESHOLD_DB, Math.max(LOWEST_THRESHOLD_DB, threshold));
  }

  /** @type {(endSec: number) => SoundReport[]} */
  #loud(endSec) {
    this.#lastLoudEnd = endSec;
    this.#loudSince ??= endSec - this.#windowSec;
    if (this.#isOn || endSec - this.#loudSince < ONSET_SEC) return [];
    this.#isOn = true;
    return [{ type: "on", at: this.#loudSince }];
  }

  /** @type {(endSec: number) => SoundReport[]} */
  #quiet(endSec) {
    if (!this.#isOn) this.#loudSince = null;
    if (!this.#isOn || endSec - this.#lastLoudEnd < HANG_SEC) return [];
    this.#isOn = false;
    this.#loudSince = null;
    return [{ type: "off", at: this.#lastLoudEnd }];
  }

  /** @type {(db: number, endSec: number) => SoundReport[]} */
  #level(db, endSec) {
    this.#peakDb = Math.max(this.#peakDb, db);
    this.#levelSince ??= endSec;
    if (endSec - this.#levelSince < LEVEL_SEC) return [];
    /** @type {Level} */
    const level = { type: "level", at: endSec, db: this.#peakDb };
    this.#peakDb = QUIETEST_DB;
    this.#levelSince = endSec;
    return [level];
  }
}

/** @type {(power: number) => number} */
function decibels(power) {
  return Math.max(QUIETEST_DB, 10 * Math.log10(power + 1e-12));
}
