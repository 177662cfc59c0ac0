/**
 * The page's one AudioContext: it listens to the microphone and to the reply on one clock. The reply itself is heard
 * through an <audio> element, which is where an output device can be chosen.
 *
 * @typedef {"near" | "far"} Side
 * @typedef {import("./loudness.js").SoundReport} SoundReport
 */

import { pageNow } from "./clock.js";
import { SoundClock } from "./soundclock.js";

export class Sound {
  #context = /** @type {AudioContext | null} */ (null);
  #ready = /** @type {Promise<void> | null} */ (null);
  #ears = /** @type {Record<Side, AudioNode | null>} */ ({ near: null, far: null });
  #sources = /** @type {Record<Side, AudioNode | null>} */ ({ near: null, far: null });
  #silence = /** @type {MediaStreamAudioDestinationNode | null} */ (null);
  #clock = new SoundClock();
  #audio;
  #onReport;

  /**
   * @param {HTMLAudioElement} audio
   * @param {(side: Side, report: SoundReport) => void} onReport
   */
  constructor(audio, onReport) {
    this.#audio = audio;
    this.#onReport = onReport;
  }

  /** Seconds on the clock of every report. */
  get now() {
    return this.#context?.currentTime ?? 0;
  }

  /**
   * When the sound of a moment passed through the page, on the page's clock; the way to the loudspeaker comes after it.
   *
   * @type {(at: number) => number | null}
   */
  pageMs(at) {
    return this.#clock.pageMs(at);
  }

  /** What the way to the loudspeaker takes, as far as the browser knows; the reply's own <audio> has a like buffer. */
  get outputMs() {
    const { outputLatency } = this.#context ?? {};
    return outputLatency === undefined ? null : outputLatency * 1000;
  }

  /** Must first be called from a user's gesture: browsers keep the sound off until then. */
  start() {
    this.#ready ??= this.#build();
    this.#context?.resume();
    return this.#ready;
  }

  /** A track for callers who only type. */
  silentTrack() {
    const context = /** @type {AudioContext} */ (this.#context);
    this.#silence ??= context.createMediaStreamDestination();
    return this.#silence.stream.getAudioTracks()[0];
  }

  /** @param {MediaStreamTrack} track */
  hearNear(track) {
    this.#connect("near", new MediaStream([track]));
  }

  /** @param {MediaStream} stream */
  hearFar(stream) {
    this.#audio.srcObject = stream; // also what makes Chromium deliver the stream to the context at all
    this.#audio.play().catch(() => {}); // interrupted by the next stream
    this.#connect("far", stream);
  }

  /** @param {Side} side */
  forget(side) {
    this.#sources[side]?.disconnect();
    this.#sources[side] = null;
    if (side === "far") this.#audio.srcObject = null;
  }

  /** Between calls nothing needs to be measured. */
  rest() {
    this.forget("near");
    this.forget("far");
    this.#context?.suspend();
    this.#clock.forget();
  }

  async #build() {
    // The shortest buffers that do not stutter. Shorter ones can be asked for by number, but the reply is not heard
    // through this context, so they would cost wake-ups and make `outputLatency` untrue of what is heard.
    const context = new AudioContext({ latencyHint: "interactive" });
    this.#context = context;
    await context.audioWorklet.addModule(new URL("./ear.js", import.meta.url));
    this.#ears = { near: this.#ear("near"), far: this.#ear("far") };
  }

  /** @type {(side: Side) => AudioNode} */
  #ear(side) {
    const context = /** @type {AudioContext} */ (this.#context);
    const options = { numberOfOutputs: 1, channelCount: 1, channelCountMode: /** @type {const} */ ("explicit") };
    const ear = new AudioWorkletNode(context, "ear", options);
    ear.port.onmessage = ({ data }) => {
      this.#clock.feed(context.currentTime, pageNow());
      this.#onReport(side, data);
    };
    ear.connect(context.destination); // it writes nothing, and is only pulled where its output leads somewhere
    return ear;
  }

  /** @type {(side: Side, stream: MediaStream) => void} */
  #connect(side, stream) {
    const context = /** @type {AudioContext} */ (this.#context);
    this.#sources[side]?.disconnect();
    const source = context.createMediaStreamSource(stream);
    source.connect(/** @type {AudioNode} */ (this.#ears[side]));
    this.#sources[side] = source;
  }
}
