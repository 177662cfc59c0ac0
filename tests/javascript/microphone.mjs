// A microphone for the WebSocket: it never stops, and most of what it sends is silence.
import { pause } from "./diary.mjs";

const FRAME_MS = 40;
const FRAME_BYTES = 1920; // 40 ms of 16 bit samples at 24 kHz

export class Microphone {
  #waiting = Buffer.alloc(0);
  #timer;

  constructor(send) {
    let sent = 0;
    const begun = Date.now();
    this.#timer = setInterval(() => {
      for (; sent * FRAME_MS <= Date.now() - begun; sent += 1) send(this.#nextFrame());
    }, FRAME_MS);
  }

  /** Resolves when the last of `sound` has been sent. */
  async say(sound) {
    this.#waiting = Buffer.concat([this.#waiting, sound]);
    while (this.#waiting.length > 0) await pause(FRAME_MS);
  }

  close() {
    clearInterval(this.#timer);
  }

  #nextFrame() {
    const frame = new Uint8Array(FRAME_BYTES);
    frame.set(this.#waiting.subarray(0, FRAME_BYTES));
    this.#waiting = this.#waiting.subarray(FRAME_BYTES);
    return frame.buffer;
  }
}
