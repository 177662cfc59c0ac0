/**
 * The client events this page sends, in the shapes of OpenAI Realtime (GA).
 *
 * @typedef {{type: string} & Record<string, unknown>} Request
 */

/**
 * @param {{pushToTalk: boolean}} wishes
 * @returns {Request}
 */
export function updateSession({ pushToTalk }) {
  const turnDetection = pushToTalk ? null : { type: "semantic_vad" };
  const input = { transcription: { model: "moonshine-tiny" }, turn_detection: turnDetection };
  return { type: "session.update", session: { type: "realtime", audio: { input } } };
}

/**
 * The page chooses the id, so that its own caption and the server's echo are the same item.
 *
 * @param {string} id
 * @param {string} text
 * @returns {Request}
 */
export function typedMessage(id, text) {
  return createMessage(id, "user", { type: "input_text", text });
}

/**
 * Something Antiphon said in an earlier connection of the same conversation.
 *
 * @param {string} id
 * @param {string} text
 * @returns {Request}
 */
export function rememberedReply(id, text) {
  return createMessage(id, "assistant", { type: "output_text", text });
}

/** @returns {Request} */
function createMessage(/** @type {string} */ id, /** @type {string} */ role, /** @type {object} */ part) {
  return { type: "conversation.item.create", item: { type: "message", id, role, content: [part] } };
}

/** @returns {Request} */
export const createResponse = () => ({ type: "response.create" });

/** @returns {Request} */
export const cancelResponse = () => ({ type: "response.cancel" });

/** @returns {Request} */
export const clearPlayout = () => ({ type: "output_audio_buffer.clear" });

/** @returns {Request} */
export const clearInput = () => ({ type: "input_audio_buffer.clear" });

/** @returns {Request} */
export const commitInput = () => ({ type: "input_audio_buffer.commit" });

/**
 * Answered at once with the time of the edge.
 *
 * @returns {Request}
 */
export const pingClock = (/** @type {number} */ nowMs) => ({ type: "antiphon.clock.ping", client_ms: nowMs });

/** @returns {Request} */
export const reportTurn = (/** @type {import("./report.js").Report} */ report) => ({
  type: "antiphon.turn.report",
  ...report,
});

/** @returns {Request} */
export const retrieveItem = (/** @type {string} */ id) => ({ type: "conversation.item.retrieve", item_id: id });
