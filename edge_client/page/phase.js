/**
 * Whose turn it is, from the server's events. Pure.
 *
 * @typedef {"listening" | "hearing" | "thinking" | "speaking"} PhaseName
 * @typedef {object} Phase
 * @property {PhaseName} name
 * @property {boolean} responding  a response is being made; only then may it be cancelled
 */

/** @type {Phase} */
export const FIRST_PHASE = Object.freeze({ name: "listening", responding: false });

/** @type {(phase: Phase, event: any) => Phase} */
export function reducePhase(phase, event) {
  switch (event.type) {
    case "input_audio_buffer.speech_started":
      return { ...phase, name: "hearing" };
    case "input_audio_buffer.speech_stopped":
      return { ...phase, name: "listening" };
    case "input_audio_buffer.committed":
      return { ...phase, name: "thinking" };
    case "conversation.item.input_audio_transcription.completed":
      return event.transcript || phase.responding ? phase : { ...phase, name: "listening" }; // nothing was said
    case "response.created":
      return { name: "thinking", responding: true };
    case "output_audio_buffer.started":
      return { ...phase, name: "speaking" };
    case "output_audio_buffer.stopped":
    case "output_audio_buffer.cleared":
      return { ...phase, name: phase.name === "speaking" ? "listening" : phase.name };
    case "response.done":
      return { name: phase.name === "thinking" ? "listening" : phase.name, responding: false };
    default:
      return phase;
  }
}
