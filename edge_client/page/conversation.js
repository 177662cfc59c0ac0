/**
 * What is said between the page and the server, whatever carries it: the state the views show, and the requests that
 * follow from events. It outlives connections: while there is none, requests are kept until the session goes on; where
 * the session is gone, the next one is told again what was said.
 */

import { isSettled, NO_CAPTIONS, noticeEvent, reduceCaptions } from "./captions.js";
import { serverErrorInPlainWords } from "./faults.js";
import { FIRST_PHASE, reducePhase } from "./phase.js";
import { Reporter } from "./reporter.js";
import * as requests from "./requests.js";
import { EMPTY_LEDGER, reduceTurns } from "./turns.js";

const REMEMBERED_CAPTIONS = 20;
const MOST_HELD_REQUESTS = 50; // nobody presses that many buttons while a page says that it is reconnecting
const UNANSWERED = "Antiphon could not answer this. Try again.";

/**
 * @typedef {object} Typed
 * @property {string} id  of the item
 * @property {string} text
 * @property {boolean} isRepeated  an earlier session ended over it, and another one may too: it is not tried for ever
 *
 * @typedef {Typed & {eventId: string, isHeard: boolean}} Asked  sent, and no response has begun; the server has the item
 *
 * @typedef {object} ConversationParts
 * @property {(request: requests.Request) => void} send
 * @property {() => void} onChange
 * @property {() => number} now  milliseconds since 1970 on the page's clock
 */

export class Conversation {
  captions = NO_CAPTIONS;
  ledger = EMPTY_LEDGER;
  phase = FIRST_PHASE;
  /** What the server last complained of, until it answers again. */
  trouble = /** @type {string | null} */ (null);
  #pushToTalk = false;
  #isReady = false;
  #typed = /** @type {Typed[]} */ ([]); // not sent yet
  #asked = /** @type {Asked | null} */ (null);
  #isSpeechOnItsWay = false; // push to talk: the end of speech was sent, and nothing tells yet that it has arrived
  #isInDoubt = false; // requests may have been lost with a connection; the server was asked something to find out
  #held = /** @type {requests.Request[] | null} */ (null); // while there may be nobody to hear them
  #send;
  #onChange;
  #reporter;

  /** @param {ConversationParts} parts */
  constructor({ send, onChange, now }) {
    this.#send = send;
    this.#onChange = onChange;
    this.#reporter = new Reporter({ send, ask: (request) => this.#ask(request), now });
  }

  get pushToTalk() {
    return this.#pushToTalk;
  }

  set pushToTalk(pushToTalk) {
    this.#pushToTalk = pushToTalk;
    if (this.#isReady) this.#ask(requests.updateSession({ pushToTalk }));
  }

  /** A new call begins with an empty page. */
  restart() {
    this.captions = NO_CAPTIONS;
    this.ledger = EMPTY_LEDGER;
    this.trouble = null;
    this.#typed = [];
    this.#asked = null;
    this.disconnected();
  }

  /** The session is over. What was typed and not answered is asked again in the next one. */
  disconnected() {
    if (this.#asked && !this.#asked.isRepeated) this.#typed.unshift({ ...this.#asked, isRepeated: true });
    this.#asked = null;
    this.#isReady = this.#isSpeechOnItsWay = this.#isInDoubt = false;
    this.#held = null;
    this.phase = FIRST_PHASE;
    this.#onChange();
  }

  /** There may be nobody to hear a request just now. */
  hold() {
    this.#held ??= [];
  }

  /**
   * The session goes on.
   *
   * @param {{overAnother: boolean}} connection  another one than before: what was under way in the old one may be lost
   */
  goOn({ overAnother }) {
    const held = this.#held ?? [];
    this.#held = null;
    this.#isInDoubt = overAnother && (this.#asked !== null || this.#isSpeechOnItsWay);
    if (this.#isInDoubt) this.#send(requests.updateSession({ pushToTalk: this.#pushToTalk }));
    for (const request of held) this.#send(request);
    this.#sendTyped();
    this.#onChange();
  }

  /** @param {any} event  from the server, or one of the page's own */
  receive(event) {
    if (this.#reporter.take(event)) return;
    this.captions = reduceCaptions(this.captions, event);
    this.ledger = reduceTurns(this.ledger, event);
    this.phase = reducePhase(this.phase, event);
    this.#follow(event);
    this.#reporter.follow(event, this.ledger.turns);
    this.#sendTyped();
    this.#onChange();
  }

  /**
   * Shown at once, sent as soon as there is a call and no other response is in the way.
   *
   * @param {string} text
   */
  type(text) {
    const id = newId("item");
    this.#typed.push({ id, text, isRepeated: false });
    this.interrupt();
    const item = { type: "message", role: "user", id, content: [{ type: "input_text", text }] };
    this.receive({ type: "conversation.item.added", item });
  }

  /** Stops the reply, in the making and in the loudspeaker. */
  interrupt() {
    if (this.phase.responding) this.#ask(requests.cancelResponse());
    if (this.phase.responding || this.phase.name === "speaking") this.#ask(requests.clearPlayout());
  }

  /** Push to talk: the button goes down. */
  beginSpeech() {
    this.interrupt();
    this.#ask(requests.clearInput());
  }

  /** Push to talk: the button was touched, but not to speak. */
  dropSpeech() {
    this.#ask(requests.clearInput());
  }

  /** Push to talk: the button is let go. */
  endSpeech() {
    this.#isSpeechOnItsWay = this.#held === null;
    this.#ask(requests.commitInput());
    this.#ask(requests.createResponse());
  }

  /** @param {requests.Request} request  sent now, or when there is somebody to hear it */
  #ask(request) {
    if (this.#held === null) this.#send(request);
    else if (this.#held.length < MOST_HELD_REQUESTS) this.#held.push(request);
  }

  /** @param {any} event */
  #follow(event) {
    if (event.type === "session.created") this.#greet();
    if (event.type === "session.updated") this.#clearDoubt();
    if (event.type === "conversation.item.truncated") this.#ask(requests.retrieveItem(event.item_id));
    this.#followRequests(event);
    if (event.type === "response.created") this.trouble = null;
    this.trouble = wordsOfTrouble(event) ?? this.trouble;
  }

  /** What became of the requests that were sent. @param {any} event */
  #followRequests(event) {
    const asked = this.#asked;
    if (event.type === "input_audio_buffer.committed" || event.type === "error") this.#isSpeechOnItsWay = false;
    if (asked && event.type === "conversation.item.added" && event.item.id === asked.id) asked.isHeard = true;
    if (event.type === "response.created") this.#asked = null;
    if (event.type === "error" && event.error.event_id === asked?.eventId) this.#asked = null;
  }

  /**
   * Events keep their order, so whatever had arrived before the connection broke has been told by now. What has not
   * arrived is sent again.
   */
  #clearDoubt() {
    if (!this.#isInDoubt) return;
    this.#isInDoubt = false;
    if (this.#isSpeechOnItsWay) this.endSpeech();
    if (this.#asked) this.#askFor(this.#asked);
  }

  #greet() {
    this.#send(requests.updateSession({ pushToTalk: this.#pushToTalk }));
    this.#remind();
    this.#isReady = true;
  }

  /** A new session knows nothing of what the captions still show. */
  #remind() {
    const unsent = new Set(this.#typed.map(({ id }) => id));
    const said = this.captions.filter((caption) => isSettled(caption) && !unsent.has(caption.id));
    if (said.length === 0) return;
    for (const { id, voice, text } of said.slice(-REMEMBERED_CAPTIONS)) {
      if (voice === "near") this.#send(requests.typedMessage(id, text));
      if (voice === "far") this.#send(requests.rememberedReply(id, text));
    }
    this.captions = reduceCaptions(this.captions, noticeEvent(newId("item"), "Connected again"));
  }

  /** One at a time: a session gives one response at a time, and another request would cut what is being heard. */
  #sendTyped() {
    const isAnswering = this.#asked || this.phase.responding || this.phase.name === "speaking";
    if (!this.#isReady || this.#held || isAnswering) return;
    const next = this.#typed.shift();
    if (next) this.#askFor({ ...next, eventId: newId("event"), isHeard: false });
  }

  /** @param {Asked} asked */
  #askFor(asked) {
    this.#asked = asked;
    if (!asked.isHeard) this.#send(requests.typedMessage(asked.id, asked.text));
    this.#send({ ...requests.createResponse(), event_id: asked.eventId });
  }
}

/** @type {(event: any) => string | null} */
function wordsOfTrouble(event) {
  if (event.type === "error") return serverErrorInPlainWords(event.error);
  return event.type === "response.done" && event.response.status === "failed" ? UNANSWERED : null;
}

/** @type {(prefix: string) => string} */
function newId(prefix) {
  return `${prefix}_${crypto.randomUUID().replaceAll("-", "").slice(0, 20)}`;
}
