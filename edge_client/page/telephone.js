/** Everything a call is made of except its looks: the line, the microphone, the sound, and what is said over them. */

import { Call } from "./call.js";
import { pageNow } from "./clock.js";
import { Conversation } from "./conversation.js";
import { Refusal } from "./faults.js";
import { Invitation } from "./invitation.js";
import { Line } from "./line.js";
import { tabMemory } from "./memory.js";
import { Microphone } from "./microphone.js";
import { Reception } from "./reception.js";
import { Sound } from "./sound.js";
import { MOVED_EVENT } from "./reporter.js";
import { between, counters } from "./statistics.js";
import { Stopwatch } from "./stopwatch.js";
import { arrivedEvent, heardEvent, receptionEvent, v2vEvent } from "./turns.js";

/**
 * @typedef {import("./line.js").LineState} LineState
 * @typedef {import("./loudness.js").Level} Level
 * @typedef {import("./sound.js").Side} Side
 * @typedef {import("./stopwatch.js").Measurement} Measurement
 * @typedef {import("./microphone.js").MicrophoneWishes} MicrophoneWishes
 *
 * @typedef {object} TelephoneParts
 * @property {HTMLAudioElement} audio  where the reply is heard
 * @property {() => MicrophoneWishes} wishes
 * @property {() => void} onChange  something the views show is different
 * @property {(state: LineState) => void} onLine
 * @property {(side: Side, level: Level) => void} onLevel
 * @property {(measurement: Measurement) => void} onMeasurement
 */

const CALLS_URL = "v1/realtime/calls"; // relative to the page, which may live under a prefix
const SPEECH_TAIL_MS = 150; // the last syllable is still on its way when the button is let go
const SHORTEST_SPEECH_MS = 250; // holding the button for less says nothing

const HUSH_MS = 50; // from one look to the next whether somebody speaks
const LONGEST_HUSH_MS = 3_000; // some rooms are never silent
const MOVE_PAUSE_MS = 1_000; // another edge may have no place yet

export class Telephone {
  #stopwatch = new Stopwatch();
  #lastCounters = /** @type {import("./statistics.js").Counters | null} */ (null);
  #isMuted = false;
  #isHeld = false;
  #heldSinceMs = 0;
  #tail = 0; // timer of SPEECH_TAIL_MS
  #wantsMicrophone = false;
  #invitation = new Invitation();
  #isMoving = false;
  #isNearLoud = false;
  #parts;

  /** @param {TelephoneParts} parts */
  constructor(parts) {
    this.#parts = parts;
    this.lineState = /** @type {LineState} */ ({ name: "idle" });
    this.sound = new Sound(parts.audio, (side, report) => this.#hear(side, report));
    this.microphone = new Microphone(() => this.changeMicrophone());
    /** @type {Line<Call>} */
    this.line = new Line({
      dial: (signal, old) => this.#dial(signal, old),
      report: (state) => this.#follow(state),
      isLeaving: () => this.#invitation.isDraining,
    });
    this.conversation = new Conversation({
      send: (request) => this.line.call?.send(request),
      onChange: parts.onChange,
      now: pageNow,
    });
    this.reception = new Reception({
      count: () => this.#count(),
      onReply: (responseId, statistics) => this.conversation.receive(receptionEvent(responseId, this.#inFull(statistics))),
    });
  }

  get isMuted() {
    return this.#isMuted || !this.microphone.track;
  }

  get isHeld() {
    return this.#isHeld;
  }

  /** Whether the browser is asking the person just now. */
  isAskingForMicrophone = false;

  /** Why there is no microphone, where one was wanted. */
  microphoneFault = /** @type {unknown} */ (null);

  /** What stands in the way, or null. */
  get fault() {
    const lineFault = "fault" in this.lineState ? this.lineState.fault : null;
    return lineFault ?? this.microphoneFault ?? this.conversation.trouble;
  }

  /** Calls with the microphone; without one where it cannot be had, so that typing still works. */
  talk() {
    this.sound.start();
    this.#wantsMicrophone = true;
    this.microphoneFault = null;
    this.conversation.restart();
    return this.line.pickUp();
  }

  /**
   * Says something in writing, and calls first where there is no call.
   *
   * @param {string} text
   */
  type(text) {
    this.sound.start();
    if (!this.line.isOpen) this.conversation.restart();
    this.conversation.type(text);
    return this.line.pickUp();
  }

  hangUp() {
    this.line.hangUp();
  }

  /** The page is going away: what is to be said must be said now. */
  abandon() {
    this.line.call?.hangUp();
    this.line.hangUp();
  }

  async toggleMute() {
    if (!this.microphone.track) return this.changeMicrophone();
    this.#isMuted = !this.#isMuted;
    this.#applyMute();
  }

  /** @param {boolean} pushToTalk */
  setPushToTalk(pushToTalk) {
    this.conversation.pushToTalk = pushToTalk;
    this.#isHeld = false;
    this.#applyMute();
  }

  holdToSpeak() {
    if (this.#isHeld || this.lineState.name !== "live") return;
    this.#isHeld = true;
    if (!this.#tail) this.#beginSpeech(); // pressed again within the tail: still the same utterance
    clearTimeout(this.#tail);
    this.#tail = 0;
    this.#applyMute();
  }

  letGo() {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#parts.onChange();
    const spoke = performance.now() - this.#heldSinceMs >= SHORTEST_SPEECH_MS;
    this.#tail = setTimeout(() => this.#endSpeech(spoke), SPEECH_TAIL_MS);
  }

  /** Opens the microphone that is wished for now, also in the middle of a call. */
  async changeMicrophone() {
    if (!this.line.isOpen) return;
    await this.#openMicrophone();
    await this.#sendMicrophone();
  }

  /**
   * What happened since the last time.
   *
   * @returns {Promise<import("./statistics.js").Statistics | null>}
   */
  async statistics() {
    const earlier = this.#lastCounters;
    this.#lastCounters = await this.#count();
    return this.#lastCounters && this.#inFull(between(earlier, this.#lastCounters));
  }

  /** @returns {Promise<import("./statistics.js").Counters | null>} */
  async #count() {
    const { call } = this.line;
    return call && counters(await call.statistics());
  }

  /**
   * Not every browser counts what the output takes; the context's own figure is the next best.
   *
   * @template {import("./statistics.js").Statistics | null} S
   * @param {S} statistics
   * @returns {S}
   */
  #inFull(statistics) {
    return statistics && { ...statistics, outputMs: statistics.outputMs ?? this.sound.outputMs };
  }

  /** The call may have been begun with another track. */
  async #sendMicrophone() {
    const { call } = this.line;
    const { track } = this.microphone;
    if (track && call && call.track !== track) await call.replaceTrack(track);
  }

  #beginSpeech() {
    this.#heldSinceMs = performance.now();
    this.conversation.beginSpeech();
  }

  /** @param {boolean} spoke */
  #endSpeech(spoke) {
    this.#tail = 0;
    if (spoke) this.conversation.endSpeech();
    else this.conversation.dropSpeech();
    this.#applyMute();
  }

  #applyMute() {
    this.microphone.isMuted = this.#isMuted || (this.conversation.pushToTalk && !this.#isHeld);
    this.#parts.onChange();
  }

  async #openMicrophone() {
    this.#setAsking(true);
    try {
      const track = await this.microphone.open(this.#parts.wishes());
      await this.sound.start();
      this.sound.hearNear(track);
      this.microphoneFault = null;
    } catch (fault) {
      this.#wantsMicrophone = false; // asked once a call, not at every reconnection
      this.microphoneFault = fault;
    }
    this.#setAsking(false);
    this.#applyMute();
  }

  /** @param {boolean} isAsking */
  #setAsking(isAsking) {
    this.isAskingForMicrophone = isAsking;
    this.#parts.onChange();
  }

  /** @type {(signal: AbortSignal, old: Call | null) => Promise<Call>} */
  async #dial(signal, old) {
    await this.sound.start();
    if (this.#wantsMicrophone && !this.microphone.track) await this.#openMicrophone();
    if (signal.aborted && !this.line.isOpen) this.#rest();
    signal.throwIfAborted();
    const call = new Call({
      key: tabMemory.recall("key"),
      track: this.microphone.track ?? this.sound.silentTrack(),
      resumption: old?.resumption,
      onStream: (stream) => this.sound.hearFar(stream),
      onEvent: (event) => this.#receive(event),
    });
    await call.dial(new URL(CALLS_URL, document.baseURI), signal);
    return call;
  }

  /** The edge is about to end: the session goes on at another one, unless something is said before. */
  async #move() {
    if (this.#isMoving) return;
    this.#isMoving = true;
    for (let ticket = this.#ticket; ticket && this.line.isOpen; ticket = this.#ticket) await this.#tryToMove(ticket);
    this.#isMoving = false;
  }

  get #ticket() {
    return this.#invitation.ticket(performance.now());
  }

  /** @param {string} ticket */
  async #tryToMove(ticket) {
    const held = /** @type {(() => void)[]} */ ([]);
    const mayLeave = () => this.#hush(ticket);
    try {
      if (!(await mayLeave())) return;
      if (!(await this.line.move((signal) => this.#dialWith(ticket, held, signal), mayLeave))) return this.#giveUp(ticket);
      this.#invitation = new Invitation();
      for (const tell of held.splice(0)) tell();
      this.conversation.receive(MOVED_EVENT);
    } catch (fault) {
      if (fault instanceof Refusal && fault.isFinal) this.#giveUp(ticket);
      else await new Promise((resolve) => setTimeout(resolve, MOVE_PAUSE_MS));
    }
  }

  /** @param {string} ticket  another one may have come */
  #giveUp(ticket) {
    if (this.#ticket === ticket) this.#invitation.forget();
  }

  /**
   * A call that is neither heard nor hears, and whose events are held, until it is the one in use. Its greeting says
   * nothing new.
   *
   * @type {(ticket: string, held: (() => void)[], signal: AbortSignal) => Promise<Call>}
   */
  async #dialWith(ticket, held, signal) {
    /** @type {(tell: () => void) => void} */
    const whenInUse = (tell) => void (this.line.call === call ? tell() : held.push(tell));
    const call = new Call({
      key: tabMemory.recall("key"),
      track: this.sound.silentTrack(),
      ticket,
      onStream: (stream) => whenInUse(() => this.sound.hearFar(stream)),
      onEvent: (event) => event.type !== "session.created" && whenInUse(() => this.#receive(event)),
    });
    await call.dial(new URL(CALLS_URL, document.baseURI), signal);
    return call;
  }

  /**
   * Waits until nobody speaks, and resolves with whether the ticket is good then.
   *
   * @param {string} ticket
   */
  async #hush(ticket) {
    const deadline = performance.now() + LONGEST_HUSH_MS;
    while (this.#isHeld || (this.#isNearLoud && !this.isMuted && performance.now() < deadline)) {
      await new Promise((resolve) => setTimeout(resolve, HUSH_MS));
    }
    return this.#ticket === ticket;
  }

  /** @param {any} event */
  #receive(event) {
    const now = pageNow();
    if (this.#invitation.take(event, performance.now())) this.#move();
    this.conversation.receive(event);
    if (event.type === "output_audio_buffer.started") this.conversation.receive(arrivedEvent(event.response_id, now));
    this.reception.follow(event);
  }

  /** @param {LineState} state */
  #follow(state) {
    this.lineState = state;
    if (state.name === "reconnecting") this.#wait();
    if (state.name === "live" && state.reached !== "called") this.#goOn(state.reached);
    if (state.name === "connecting" || state.name === "waiting") this.#lose();
    if (state.name === "idle" || state.name === "failed") this.#rest();
    this.#parts.onLine(state);
  }

  /** The call may be gone, or come back. */
  #wait() {
    this.#stopwatch = new Stopwatch(); // a gap in the line is no voice-to-voice time
    this.conversation.hold();
  }

  /** @param {"resumed" | "revived"} reached */
  #goOn(reached) {
    this.#sendMicrophone().catch(() => {}); // a call that is over by now takes none
    this.conversation.goOn({ overAnother: reached === "resumed" });
  }

  /** The session is gone; the next one may come. */
  #lose() {
    this.#isHeld = false;
    this.#invitation = new Invitation();
    this.#stopwatch = new Stopwatch();
    this.#lastCounters = null;
    this.sound.forget("far");
    this.conversation.disconnected();
  }

  #rest() {
    this.#lose();
    this.#isMuted = false;
    this.#wantsMicrophone = false;
    this.microphone.close();
    this.sound.rest();
  }

  /** @type {(side: Side, report: import("./loudness.js").SoundReport) => void} */
  #hear(side, report) {
    if (report.type === "level") this.#parts.onLevel(side, report);
    else if (side === "near") this.#isNearLoud = report.type === "on";
    const measurement = this.#stopwatch.feed(side, report);
    if (measurement) this.#measure(measurement);
    if (side === "far" && report.type === "on") this.#beginHearing(report.at);
  }

  /** @param {Measurement} measurement */
  #measure(measurement) {
    const { offAt, onAt, ms } = measurement;
    this.#parts.onMeasurement(measurement);
    this.conversation.receive(v2vEvent({ ms, speechEndMs: this.sound.pageMs(offAt), heardMs: this.sound.pageMs(onAt) }));
  }

  /** @param {number} at */
  #beginHearing(at) {
    this.reception.hear();
    this.conversation.receive(heardEvent(this.sound.pageMs(at)));
  }
}
