/**
 * How each reply came through, by the browser's own counters: what they count between the first sound of a reply and
 * its last. Figures since the call began would be those of all replies, and of the silence between them.
 *
 * @typedef {import("./statistics.js").Counters} Counters
 * @typedef {import("./statistics.js").Statistics} Statistics
 */

import { between } from "./statistics.js";

const ENDS = new Set(["output_audio_buffer.stopped", "output_audio_buffer.cleared"]);

export class Reception {
  #count;
  #onReply;
  #replyId = /** @type {string | null} */ (null);
  #atFirstSound = /** @type {Promise<Counters | null>} */ (Promise.resolve(null));

  /**
   * @param {object} parts
   * @param {() => Promise<Counters | null>} parts.count  null where there is no call
   * @param {(responseId: string, statistics: Statistics) => void} parts.onReply
   */
  constructor({ count, onReply }) {
    this.#count = count;
    this.#onReply = onReply;
  }

  /** @param {any} event  from the server */
  async follow(event) {
    if (event.type === "output_audio_buffer.started") this.#begin(event.response_id);
    else if (ENDS.has(event.type) && event.response_id === this.#replyId) await this.#end(event.response_id);
  }

  /** @param {string} replyId */
  #begin(replyId) {
    this.#replyId = replyId;
    this.#atFirstSound = this.#count();
  }

  /** @param {string} replyId */
  async #end(replyId) {
    this.#replyId = null;
    const [earlier, later] = await Promise.all([this.#atFirstSound, this.#count()]);
    if (later) this.#onReply(replyId, between(earlier, later));
  }
}
