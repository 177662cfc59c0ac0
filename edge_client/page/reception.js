/**
 * How each reply came through, by the browser's own counters: what they count between the first sound of a reply and
 * its last. Figures since the call began would be those of all replies, and of the silence between them.
 *
 * Only the jitter buffer's is of the reply's beginning, because that is what a caller waits for: the mean over the
 * samples that left the buffer between the news of the reply's first packet and a moment after its first sound. It may
 * be much shorter or longer later on, and browsers tell it of no single sample.
 *
 * @typedef {import("./statistics.js").Counters} Counters
 * @typedef {import("./statistics.js").Statistics} Statistics
 */

import { between } from "./statistics.js";

const BEGINNING_MS = 80; // browsers tell the same counters again for 50 ms
const ENDS = new Set(["output_audio_buffer.stopped", "output_audio_buffer.cleared"]);

/** @type {Promise<Counters | null>} */
const UNCOUNTED = Promise.resolve(null);

export class Reception {
  #count;
  #onReply;
  #replyId = /** @type {string | null} */ (null);
  #atFirstPacket = UNCOUNTED;
  #afterFirstSound = /** @type {Promise<Counters | null> | null} */ (null);

  /**
   * @param {object} parts
   * @param {() => Promise<Counters | null>} parts.count  null where there is no call
   * @param {(responseId: string, statistics: Statistics | null) => void} parts.onReply  null where nothing was counted
   */
  constructor({ count, onReply }) {
    this.#count = () => count().catch(() => null); // the call may end meanwhile
    this.#onReply = onReply;
  }

  /** @param {any} event  from the server */
  async follow(event) {
    if (event.type === "output_audio_buffer.started") this.#begin(event.response_id);
    else if (ENDS.has(event.type) && event.response_id === this.#replyId) await this.#end(event.response_id);
  }

  /** Something is heard of the reply; its first sound counts. */
  hear() {
    if (this.#replyId !== null) this.#afterFirstSound ??= pause(BEGINNING_MS).then(this.#count);
  }

  /** @param {string} replyId */
  #begin(replyId) {
    this.#replyId = replyId;
    this.#atFirstPacket = this.#count();
    this.#afterFirstSound = null;
  }

  /** @param {string} replyId */
  async #end(replyId) {
    this.#replyId = null;
    const counted = [this.#atFirstPacket, this.#afterFirstSound ?? UNCOUNTED, this.#count()];
    const [first, early, last] = await Promise.all(counted);
    this.#onReply(replyId, last && inFull(between(first, last), early && between(first, early)));
  }
}

/** @type {(whole: Statistics, beginning: Statistics | null) => Statistics} */
function inFull(whole, beginning) {
  return { ...whole, jitterBufferMs: beginning?.jitterBufferMs ?? whole.jitterBufferMs };
}

/** @type {(ms: number) => Promise<void>} */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
