/**
 * One connection to the edge: an offer posted, a data channel opened, events both ways, until it ends. A session may
 * pass from one connection to the next, see `resumption.js`.
 */

import { Disconnection, Refusal } from "./faults.js";
import { Health } from "./health.js";
import { Pulse } from "./pulse.js";
import { addressesNamed, relays } from "./relays.js";
import { Resumption } from "./resumption.js";
import { arrivals } from "./statistics.js";

/** @typedef {import("./requests.js").Request} Request */

const ANSWER_TIMEOUT_MS = 5_000;
const OPEN_TIMEOUT_MS = 10_000;
const RESUME_TIMEOUT_MS = 5_000; // somebody waits in the middle of a conversation, and another attempt may do better
const HEARTBEAT_MS = 500;
const FAREWELL_MS = 1_000;

const NO_ROUTE = "The call could not be connected: no route for the sound.";
const SILENCE = "Nothing arrives any more.";

/**
 * @typedef {object} CallParts
 * @property {string | null} key
 * @property {MediaStreamTrack} track  what the server is to hear
 * @property {Resumption} [resumption]  of the session to go on with
 * @property {string} [ticket]  for a session that another edge has let go
 * @property {(stream: MediaStream) => void} onStream  the reply's sound
 * @property {(event: any) => void} onEvent  never called twice for the same event
 */

export class Call {
  health = new Health();
  #connection = new RTCPeerConnection({ iceServers: [] });
  #channel = this.#connection.createDataChannel("oai-events");
  #pulse = new Pulse();
  #sender;
  #key;
  #isResumed;
  #ticket;
  #location = /** @type {string | null} */ (null);
  #timers = /** @type {number[]} */ ([]);
  #farewell = /** @type {Promise<void> | null} */ (null);

  /** @param {CallParts} parts */
  constructor({ track, key, resumption, ticket, onStream, onEvent }) {
    this.#key = key;
    this.#ticket = ticket;
    this.resumption = resumption ?? new Resumption();
    this.#isResumed = this.resumption.isPossible;
    this.#sender = this.#connection.addTrack(track, new MediaStream([track]));
    this.#connection.ontrack = ({ receiver, streams, track: received }) => {
      hasten(receiver);
      onStream(streams[0] ?? new MediaStream([received]));
    };
    this.#connection.onconnectionstatechange = () => this.#followState();
    this.#channel.onopen = () => this.#opened();
    this.#channel.onmessage = ({ data }) => this.#receive(JSON.parse(data), onEvent);
    this.#channel.onclose = () => this.#end("The other side hung up.");
  }

  get isResumable() {
    return this.resumption.isPossible;
  }

  /**
   * Resolves once the offer was answered; from then on `health` tells how it goes.
   *
   * @param {URL} url  where offers are posted
   * @param {AbortSignal} signal  gives up
   */
  async dial(url, signal) {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_TIMEOUT_MS)]);
    try {
      this.#connection.setConfiguration({ iceServers: await relays(this.#authorization, limited) });
      await this.#connection.setLocalDescription();
      await addressesNamed(this.#connection);
      const offer = /** @type {RTCSessionDescription} */ (this.#connection.localDescription);
      // Candidates are not waited for: the answer carries the server's, and it learns ours from the first check.
      const sdp = await this.#post(url, offer.sdp, limited);
      await this.#connection.setRemoteDescription({ type: "answer", sdp });
    } catch (fault) {
      this.close();
      throw fault;
    }
    const timeoutMs = this.#isResumed ? RESUME_TIMEOUT_MS : OPEN_TIMEOUT_MS;
    this.#timers.push(setTimeout(() => this.#missOpening(), timeoutMs));
  }

  /** @param {Request} request */
  send(request) {
    if (this.#channel.readyState === "open") this.#channel.send(JSON.stringify(request));
  }

  /** What the server hears. */
  get track() {
    return this.#sender.track;
  }

  /** @param {MediaStreamTrack} track */
  async replaceTrack(track) {
    await this.#sender.replaceTrack(track);
  }

  statistics() {
    return this.#connection.getStats();
  }

  /** There is a reason to doubt that it still carries anything. */
  doubt() {
    this.#pulse.doubt();
  }

  /** Ends the session, for which the edge would otherwise wait a while. Finished by the browser if the page goes away. */
  hangUp() {
    if (!this.#location) return this.close();
    this.#mute();
    this.#farewell ??= this.#bidFarewell(this.#location);
  }

  /** The connection stays until the edge was told: it would else find the call gone, and the request wrong. */
  async #bidFarewell(/** @type {string} */ location) {
    setTimeout(() => this.close(), FAREWELL_MS);
    await fetch(location, { method: "DELETE", headers: this.#authorization, keepalive: true }).catch(() => {});
    this.close();
  }

  /** Frees what it holds, and says nothing of it to the edge. */
  close() {
    this.#mute();
    this.#connection.close();
    this.health.become("ended", new Disconnection("The call was hung up."));
  }

  #mute() {
    this.#timers.forEach(clearInterval);
    this.#channel.onopen = this.#channel.onmessage = this.#channel.onclose = null;
  }

  /** @type {(url: URL, sdp: string, signal: AbortSignal) => Promise<string>} */
  async #post(url, sdp, signal) {
    const headers = { ...this.#authorization, ...this.resumption.headers };
    const response = await fetch(url, { method: "POST", signal, ...offered(sdp, this.#ticket, headers) });
    if (!response.ok) throw await refusal(response);
    const location = response.headers.get("Location");
    this.#location = location && new URL(location, url).href;
    this.resumption.follow(response.headers);
    return response.text();
  }

  /** @returns {Record<string, string>} */
  get #authorization() {
    return this.#key ? { Authorization: `Bearer ${this.#key}` } : {};
  }

  #opened() {
    this.health.become("alive");
    this.#timers.push(setInterval(() => this.#beat(), HEARTBEAT_MS));
  }

  /** One that was answered is the one that the edge counts on, so it may still open while another one is tried. */
  #missOpening() {
    if (this.health.state !== "opening") return;
    if (this.#isResumed) this.health.become("silent", new Disconnection(NO_ROUTE));
    else this.#end(NO_ROUTE);
  }

  /** @type {(event: any, onEvent: (event: any) => void) => void} */
  #receive(event, onEvent) {
    if (this.resumption.admit(event)) onEvent(event);
  }

  #followState() {
    if (this.#connection.connectionState === "failed") this.#end("The connection broke.");
  }

  async #beat() {
    const isAlive = this.#pulse.feed(arrivals(await this.statistics()), Date.now() / 1000);
    if (isAlive) this.health.become("alive");
    else this.health.become("silent", new Disconnection(SILENCE));
  }

  /** @param {string} reason */
  #end(reason) {
    this.#timers.forEach(clearInterval);
    this.health.become("ended", new Disconnection(reason));
  }
}

/**
 * Asks the browser for the shortest receive delay that the network allows. Told nothing, browsers choose between
 * delay and smoothness by themselves, and keep for a while what a bad moment made them add; in a conversation every
 * reply is waited for, so delay costs more than a click.
 *
 * @param {RTCRtpReceiver} receiver
 */
function hasten(receiver) {
  if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
  else if ("playoutDelayHint" in receiver) Object.assign(receiver, { playoutDelayHint: 0 }); // its older name
}

/**
 * @param {string} sdp
 * @param {string | undefined} ticket  goes beside it, in a form: of which the browser writes the type itself
 * @param {Record<string, string>} headers
 */
function offered(sdp, ticket, headers) {
  if (ticket === undefined) return { headers: { ...headers, "Content-Type": "application/sdp" }, body: sdp };
  const form = new FormData();
  form.set("sdp", sdp);
  form.set("ticket", ticket);
  return { headers, body: form };
}

/** @type {(response: Response) => Promise<Refusal>} */
async function refusal(response) {
  const body = await response.json().catch(() => null);
  const retryAfter = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  return new Refusal(response.status, body?.error?.message ?? "", Number.isFinite(retryAfter) ? retryAfter : null);
}
