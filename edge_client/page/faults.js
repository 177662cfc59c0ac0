/** What can go wrong, in words for the person who talks. */

/** The server answered an offer, and not with a call. */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {string} message
   * @param {number | null} retryAfterSec
   */
  constructor(status, message, retryAfterSec) {
    super(message);
    this.status = status;
    this.retryAfterSec = retryAfterSec;
  }

  /** Whether dialling again without a change cannot help. */
  get isFinal() {
    return this.status >= 400 && this.status < 500 && this.status !== 408 && this.status !== 429;
  }

  get needsKey() {
    return this.status === 401;
  }
}

/** A call that was up, or nearly, and is no more. */
export class Disconnection extends Error {}

/** @type {Record<string, string>} */
const BROWSER_FAULTS = {
  TimeoutError: "Antiphon does not answer.",
  NotAllowedError: "The microphone is blocked. Allow it for this page in the browser, or type below.",
  NotFoundError: "No microphone was found. Plug one in, or type below.",
  NotReadableError: "Another program holds the microphone. Close it, or choose another microphone.",
  OverconstrainedError: "That microphone is gone. Choose another one.",
};

/** Codes of `error` events that tell the person nothing: the page asked for what had already happened. */
const HARMLESS_CODES = new Set(["response_cancel_not_active", "input_audio_buffer_commit_empty"]);

/** @type {(fault: unknown) => string} */
export function inPlainWords(fault) {
  if (fault instanceof Refusal) return refusalInPlainWords(fault);
  if (fault instanceof Disconnection) return fault.message;
  if (fault instanceof DOMException && fault.name in BROWSER_FAULTS) return BROWSER_FAULTS[fault.name];
  if (fault instanceof TypeError) return "Antiphon cannot be reached. Is it running?";
  return fault instanceof Error ? fault.message : String(fault);
}

/** @type {(refusal: Refusal) => string} */
function refusalInPlainWords({ status, message }) {
  if (status === 401) return "Antiphon asks for a key.";
  if (status === 429 || status === 503) return "All lines are busy.";
  return message || `Antiphon refused the call (${status}).`;
}

/**
 * @param {{code?: string | null, message?: string}} error  the inner object of an `error` event
 * @returns {string | null}
 */
export function serverErrorInPlainWords(error) {
  if (error.code && HARMLESS_CODES.has(error.code)) return null;
  return error.message || "Antiphon reports an error without saying which.";
}
