/**
 * What is said between the page and the server, whatever carries it: the state the views show, and the requests that
 * follow from events. It outlives connections: after a reconnection the server is told again what was said.
 */

import { isSettled, NO_CAPTIONS, noticeEvent, reduceCaptions } from "./captions.js";
import { serverErrorInPlainWords } from "./faults.js";
import { FIRST_PHASE, reducePhase } from "./phase.js";
import * as requests from "./requests.js";
import { EMPTY_LEDGER, reduceTurns } from "./turns.js";

const REMEMBERED_CAPTIONS = 20;
const UNANSWERED = "Antiphon could not answer this. Try again.";

/**
 * @typedef {object} ConversationParts
 * @property {(request: requests.Request) => void} send
 * @property {() => void} onChange
 */

export class Conversation {
  captions = NO_CAPTIONS;
  ledger = EMPTY_LEDGER;
  phase = FIRST_PHASE;
  /** What the server last complained of, until it answers again. */
  trouble = /** @type {string | null} */ (null);
  #pushToTalk = false;
  #isReady = false;
  #typed = /** @type {{id: string, text: string}[]} */ ([]); // not sent yet
  #asked = /** @type {string | null} */ (null); // the id of a response.create that was not answered yet
  #send;
  #onChange;

  /** @param {ConversationParts} parts */
  constructor({ send, onChange }) {
    this.#send = send;
    this.#onChange = onChange;
  }

  get pushToTalk() {
    return this.#pushToTalk;
  }

  set pushToTalk(pushToTalk) {
    this.#pushToTalk = pushToTalk;
    if (this.#isReady) this.#send(requests.updateSession({ pushToTalk }));
  }

  /** A new call begins with an empty page. */
  restart() {
    this.captions = NO_CAPTIONS;
    this.ledger = EMPTY_LEDGER;
    this.trouble = null;
    this.#typed = [];
    this.disconnected();
  }

  disconnected() {
    this.#isReady = false;
    this.#asked = null;
    this.phase = FIRST_PHASE;
    this.#onChange();
  }

  /** @param {any} event  from the server, or one of the page's own */
  receive(event) {
    this.captions = reduceCaptions(this.captions, event);
    this.ledger = reduceTurns(this.ledger, event);
    this.phase = reducePhase(this.phase, event);
    this.#follow(event);
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
    this.#typed.push({ id, text });
    this.interrupt();
    const item = { type: "message", role: "user", id, content: [{ type: "input_text", text }] };
    this.receive({ type: "conversation.item.added", item });
  }

  /** Stops the reply, in the making and in the loudspeaker. */
  interrupt() {
    if (this.phase.responding) this.#send(requests.cancelResponse());
    if (this.phase.responding || this.phase.name === "speaking") this.#send(requests.clearPlayout());
  }

  /** Push to talk: the button goes down. */
  beginSpeech() {
    this.interrupt();
    this.#send(requests.clearInput());
  }

  /** Push to talk: the button was touched, but not to speak. */
  dropSpeech() {
    this.#send(requests.clearInput());
  }

  /** Push to talk: the button is let go. */
  endSpeech() {
    this.#send(requests.commitInput());
    this.#send(requests.createResponse());
  }

  /** @param {any} event */
  #follow(event) {
    if (event.type === "session.created") this.#greet();
    if (event.type === "conversation.item.truncated") this.#send(requests.retrieveItem(event.item_id));
    if (event.type === "response.created") this.trouble = this.#asked = null;
    if (event.type === "error" && event.error.event_id === this.#asked) this.#asked = null;
    this.trouble = wordsOfTrouble(event) ?? this.trouble;
  }

  #greet() {
    this.#send(requests.updateSession({ pushToTalk: this.#pushToTalk }));
    this.#remind();
    this.#isReady = true;
  }

  /** A new connection is a new session: the server has forgotten what the captions still show. */
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

  /** One at a time: a session gives one response at a time, and refuses to be asked for a second. */
  #sendTyped() {
    if (!this.#isReady || this.#asked || this.phase.responding) return;
    const next = this.#typed.shift();
    if (!next) return;
    this.#asked = newId("event");
    this.#send(requests.typedMessage(next.id, next.text));
    this.#send({ ...requests.createResponse(), event_id: this.#asked });
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
