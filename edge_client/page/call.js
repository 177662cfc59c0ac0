/** One WebRTC call: an offer posted, a data channel opened, events both ways, until it ends. */

import { Disconnection, Refusal } from "./faults.js";
import { arrivals } from "./statistics.js";

/** @typedef {import("./requests.js").Request} Request */

const OPEN_TIMEOUT_MS = 10_000;
const DISCONNECTED_GRACE_MS = 3_000; // ICE may heal a short gap by itself
const HEARTBEAT_MS = 1_000;
const SILENT_HEARTBEATS = 6; // browsers check the link at least every 3 s

const NO_ROUTE = "The call could not be connected: no route for the sound.";

/**
 * @typedef {object} CallParts
 * @property {string | null} key
 * @property {MediaStreamTrack} track  what the server is to hear
 * @property {(stream: MediaStream) => void} onStream  the reply's sound
 * @property {(event: any) => void} onEvent
 */

export class Call {
  #connection = new RTCPeerConnection({ iceServers: [] });
  #channel = this.#connection.createDataChannel("oai-events");
  #sender;
  #key;
  #location = /** @type {string | null} */ (null);
  #end = /** @type {(fault: Error) => void} */ (() => {});
  #timers = /** @type {number[]} */ ([]);
  #arrivals = -1;
  #silentBeats = 0;

  /** Resolves with the reason when the call is over, whoever ended it. */
  ended = new Promise((/** @type {(fault: Error) => void} */ resolve) => (this.#end = resolve));

  /** @param {CallParts} parts */
  constructor({ track, key, onStream, onEvent }) {
    this.#key = key;
    this.#sender = this.#connection.addTrack(track, new MediaStream([track]));
    this.#connection.ontrack = ({ streams, track: received }) => onStream(streams[0] ?? new MediaStream([received]));
    this.#connection.onconnectionstatechange = () => this.#followState();
    this.#channel.onmessage = ({ data }) => onEvent(JSON.parse(data));
    this.#channel.onclose = () => this.#end(new Disconnection("The other side hung up."));
  }

  /**
   * Resolves once events can be exchanged.
   *
   * @param {URL} url  where offers are posted
   * @param {AbortSignal} signal  gives up
   */
  async connect(url, signal) {
    const opened = this.#opened(signal);
    opened.catch(() => {}); // the offer may fail first, and then nobody waits for this one
    await this.#connection.setLocalDescription();
    const offer = /** @type {RTCSessionDescription} */ (this.#connection.localDescription);
    // Candidates are not waited for: the answer carries the server's, and the server learns ours from the first check.
    const sdp = await this.#post(url, offer.sdp, signal);
    await this.#connection.setRemoteDescription({ type: "answer", sdp });
    await opened;
    this.#timers.push(setInterval(() => this.#beat(), HEARTBEAT_MS));
  }

  /** @param {Request} request */
  send(request) {
    if (this.#channel.readyState === "open") this.#channel.send(JSON.stringify(request));
  }

  /** @param {MediaStreamTrack} track */
  async replaceTrack(track) {
    await this.#sender.replaceTrack(track);
  }

  statistics() {
    return this.#connection.getStats();
  }

  close() {
    this.#timers.forEach(clearInterval);
    this.#channel.onclose = null;
    this.#connection.close();
    this.#end(new Disconnection("The call was hung up."));
  }

  /** Hangs up from a page that is going away; the browser finishes the request after it. */
  abandon() {
    const farewell = { method: "DELETE", headers: this.#headers(), keepalive: true };
    if (this.#location) fetch(this.#location, farewell).catch(() => {}); // nobody is left to be told
    this.close();
  }

  /** @type {(url: URL, sdp: string, signal: AbortSignal) => Promise<string>} */
  async #post(url, sdp, signal) {
    const headers = { ...this.#headers(), "Content-Type": "application/sdp" };
    const response = await fetch(url, { method: "POST", headers, body: sdp, signal });
    if (!response.ok) throw await refusal(response);
    const location = response.headers.get("Location");
    this.#location = location && new URL(location, url).href;
    return response.text();
  }

  /** @returns {Record<string, string>} */
  #headers() {
    return this.#key ? { Authorization: `Bearer ${this.#key}` } : {};
  }

  /** @type {(signal: AbortSignal) => Promise<void>} */
  #opened(signal) {
    return new Promise((resolve, reject) => {
      this.#channel.onopen = () => resolve();
      this.#timers.push(setTimeout(() => reject(new Disconnection(NO_ROUTE)), OPEN_TIMEOUT_MS));
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      this.ended.then(reject);
    });
  }

  #followState() {
    const state = this.#connection.connectionState;
    if (state === "failed") this.#end(new Disconnection("The connection broke."));
    if (state === "disconnected") this.#timers.push(setTimeout(() => this.#giveUp(), DISCONNECTED_GRACE_MS));
  }

  #giveUp() {
    if (this.#connection.connectionState !== "connected") this.#end(new Disconnection("The connection broke."));
  }

  async #beat() {
    const count = arrivals(await this.statistics());
    this.#silentBeats = count === this.#arrivals ? this.#silentBeats + 1 : 0;
    this.#arrivals = count;
    if (this.#silentBeats >= SILENT_HEARTBEATS) this.#end(new Disconnection("Nothing arrives any more."));
  }
}

/** @type {(response: Response) => Promise<Refusal>} */
async function refusal(response) {
  const body = await response.json().catch(() => null);
  const retryAfter = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  return new Refusal(response.status, body?.error?.message ?? "", Number.isFinite(retryAfter) ? retryAfter : null);
}
