/**
 * What was said, as the server's events tell it. Pure: `reduceCaptions(captions, event)` gives the next captions and
 * leaves the old ones alone.
 *
 * @typedef {"near" | "far" | "notice"} Voice  near: the user; far: Antiphon; notice: the page itself
 * @typedef {"partial" | "final" | "cut"} CaptionStatus
 * @typedef {object} Caption
 * @property {string} id
 * @property {Voice} voice
 * @property {string} text  what was said; of a cut reply, what was heard of it
 * @property {string} unheard  the rest of a cut reply, as far as it is known
 * @property {CaptionStatus} status
 * @property {string | null} responseId
 * @property {boolean} isItem  part of the server's conversation; speech is one only when its end was found
 *
 * @typedef {readonly Caption[]} Captions
 * @typedef {{type: string} & Record<string, any>} ServerEvent
 * @typedef {(captions: Captions, event: any) => Captions} Reducer
 */

/** @type {Captions} */
export const NO_CAPTIONS = Object.freeze([]);

/** @type {Reducer} */
export function reduceCaptions(captions, event) {
  const reducer = REDUCERS.get(event.type);
  return reducer ? reducer(captions, event) : captions;
}

/** A line of the page's own, such as "Connected again". */
export function noticeEvent(/** @type {string} */ id, /** @type {string} */ text) {
  return { type: "page.notice", id, text };
}

/**
 * Whether there is nothing more to come for this caption and it has words in it.
 *
 * @param {Caption} caption
 */
export function isSettled(caption) {
  return caption.status !== "partial" && caption.text !== "";
}

/** @type {Map<string, Reducer>} */
const REDUCERS = new Map(
  Object.entries({
    "page.notice": addNotice,
    "input_audio_buffer.speech_started": (captions, event) => place(dropUnfinished(captions), event.item_id, "near"),
    "conversation.item.added": addItem,
    "conversation.item.retrieved": splitAtHeard,
    "conversation.item.truncated": (captions, event) => change(captions, event.item_id, { status: "cut" }),
    "conversation.item.deleted": (captions, event) => remove(captions, event.item_id),
    "conversation.item.input_audio_transcription.delta": (captions, event) =>
      append(captions, event.item_id, "near", event.delta ?? ""),
    "conversation.item.input_audio_transcription.completed": finishTranscription,
    "conversation.item.input_audio_transcription.failed": (captions, event) => remove(captions, event.item_id),
    "response.output_audio_transcript.delta": appendReply,
    "response.output_audio_transcript.done": (captions, event) => replaceReply(captions, event, event.transcript),
    "response.output_text.delta": appendReply,
    "response.output_text.done": (captions, event) => replaceReply(captions, event, event.text),
    "response.done": finishReply,
  }),
);

/** @type {Reducer} */
function addNotice(captions, { id, text }) {
  return change(place(captions, id, "notice"), id, { text, status: "final" });
}

/** @type {Reducer} */
function addItem(captions, { item }) {
  if (item.type !== "message") return captions;
  if (item.role === "assistant") return change(place(captions, item.id, "far"), item.id, { isItem: true });
  if (item.role !== "user") return captions;
  const typed = textOf(item, "input_text");
  const placed = change(place(captions, item.id, "near"), item.id, { isItem: true });
  return typed ? change(placed, item.id, { text: typed, status: "final" }) : placed;
}

/**
 * Speech that turned out to be no turn never becomes an item; its guessed words go when the next speech begins.
 *
 * @type {(captions: Captions) => Captions}
 */
function dropUnfinished(captions) {
  return captions.filter(({ voice, status, isItem }) => voice !== "near" || status !== "partial" || isItem);
}

/** @type {Reducer} */
function finishTranscription(captions, { item_id: id, transcript }) {
  const text = (transcript ?? "").trim();
  if (!text) return remove(captions, id);
  return change(place(captions, id, "near"), id, { text, status: "final" });
}

/** @type {Reducer} */
function appendReply(captions, { item_id: id, response_id: responseId, delta }) {
  if (isCut(captions, id)) return captions;
  return change(append(captions, id, "far", delta ?? ""), id, { responseId });
}

/** @type {(captions: Captions, event: any, text: string | undefined) => Captions} */
function replaceReply(captions, { item_id: id, response_id: responseId }, text) {
  if (text === undefined) return captions;
  if (isCut(captions, id)) return cutAt(captions, id, text);
  return change(place(captions, id, "far"), id, { text, responseId });
}

/** @type {Reducer} */
function finishReply(captions, { response }) {
  const isOfIt = (/** @type {Caption} */ caption) => caption.responseId === response.id;
  /** @type {CaptionStatus} */
  const status = response.status === "completed" ? "final" : "cut";
  return captions
    .filter((caption) => !isOfIt(caption) || caption.text !== "")
    .map((caption) => (isOfIt(caption) && caption.status === "partial" ? { ...caption, status } : caption));
}

/**
 * The server keeps of an interrupted reply only what was heard; the rest stays visible, but marked.
 *
 * @type {Reducer}
 */
function splitAtHeard(captions, { item }) {
  if (!isCut(captions, item.id)) return captions;
  return cutAt(captions, item.id, textOf(item, "output_audio") || textOf(item, "output_text"));
}

/** @type {(captions: Captions, id: string, heard: string) => Captions} */
function cutAt(captions, id, heard) {
  return captions.map((caption) => (caption.id === id ? cutAfter(caption, heard.trim()) : caption));
}

/** @type {(caption: Caption, heard: string) => Caption} */
function cutAfter(caption, heard) {
  const whole = caption.text + caption.unheard;
  const unheard = whole.startsWith(heard) ? whole.slice(heard.length) : "";
  return { ...caption, text: heard, unheard };
}

/** @type {(item: any, part: string) => string} */
function textOf(item, part) {
  const parts = (item.content ?? []).filter((/** @type {any} */ content) => content.type === part);
  return parts.map((/** @type {any} */ content) => content.text ?? content.transcript ?? "").join("");
}

/** @type {(captions: Captions, id: string) => boolean} */
function isCut(captions, id) {
  return captions.some((caption) => caption.id === id && caption.status === "cut");
}

/**
 * Makes sure that there is a caption with this id.
 *
 * @type {(captions: Captions, id: string, voice: Voice) => Captions}
 */
function place(captions, id, voice) {
  if (captions.some((caption) => caption.id === id)) return captions;
  const fresh = /** @type {const} */ ({ text: "", unheard: "", status: "partial", responseId: null, isItem: false });
  return [...captions, { id, voice, ...fresh }];
}

/** @type {(captions: Captions, id: string, voice: Voice, delta: string) => Captions} */
function append(captions, id, voice, delta) {
  return place(captions, id, voice).map((caption) =>
    caption.id === id ? { ...caption, text: caption.text + delta } : caption,
  );
}

/** @type {(captions: Captions, id: string, changes: Partial<Caption>) => Captions} */
function change(captions, id, changes) {
  return captions.map((caption) => (caption.id === id ? { ...caption, ...changes } : caption));
}

/** @type {(captions: Captions, id: string) => Captions} */
function remove(captions, id) {
  return captions.filter((caption) => caption.id !== id);
}
