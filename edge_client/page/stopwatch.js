/**
 * Voice to voice, as the caller has it: from the last loud sample of the microphone to the first loud sample of the
 * reply. Pure: fed with the reports of two Loudness detectors on one clock.
 *
 * @typedef {import("./loudness.js").SoundReport} SoundReport
 * @typedef {{offAt: number, onAt: number, ms: number}} Measurement  seconds on the shared clock
 */

export class Stopwatch {
  #nearIsOn = false;
  #nearOffAt = /** @type {number | null} */ (null);
  #farOnAt = /** @type {number | null} */ (null);

  /**
   * @param {"near" | "far"} voice
   * @param {SoundReport} report
   * @returns {Measurement | null}
   */
  feed(voice, report) {
    if (report.type === "level") return null;
    return voice === "near" ? this.#near(report) : this.#far(report);
  }

  /** @type {(report: Exclude<SoundReport, {type: "level"}>) => Measurement | null} */
  #near(report) {
    this.#nearIsOn = report.type === "on";
    this.#nearOffAt = null;
    if (this.#nearIsOn) return null;
    const farOnAt = this.#farOnAt;
    this.#farOnAt = null;
    this.#nearOffAt = report.at;
    return farOnAt !== null && farOnAt > report.at ? this.#measure(farOnAt) : null;
  }

  /**
   * A microphone's "off" is known only some 200 ms later, so a quick reply's "on" has to wait for it.
   *
   * @type {(report: Exclude<SoundReport, {type: "level"}>) => Measurement | null}
   */
  #far(report) {
    if (report.type === "off") return null;
    if (this.#nearIsOn) this.#farOnAt = report.at;
    return this.#nearOffAt === null ? null : this.#measure(report.at);
  }

  /** @type {(onAt: number) => Measurement} */
  #measure(onAt) {
    const offAt = /** @type {number} */ (this.#nearOffAt);
    this.#nearOffAt = null;
    return { offAt, onAt, ms: (onAt - offAt) * 1000 };
  }
}
