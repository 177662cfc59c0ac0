/** The audio thread's side of `sound.js`: one Loudness per stream, its reports posted to the page. */

import { Loudness } from "./loudness.js";

class Ear extends AudioWorkletProcessor {
  #loudness = new Loudness(sampleRate);

  /** @param {Float32Array[][]} inputs */
  process([[samples]]) {
    const count = samples?.length ?? 128;
    const endSec = (currentFrame + count) / sampleRate;
    for (const report of this.#loudness.feed(samples, count, endSec)) this.port.postMessage(report);
    return true;
  }
}

registerProcessor("ear", Ear);
