/**
 * The spans of a trace in words: what each is called on the page, what it means, and the colour of its bar. Spans whose
 * names are not listed are shown by their names.
 *
 * @typedef {"wait" | "edge" | "rest" | "phase"} SpanKind  as the rows of the waterfall have them
 * @typedef {{words: string, meaning: string, kind?: SpanKind}} Wording
 */

/** @type {Record<string, Wording>} */
export const WORDINGS = {
  "voice.turn": { words: "Turn", meaning: "From its first sound, or its request, until the reply was heard out or cut" },
  "receive": { words: "Receiving you", meaning: "How your sound came through while you spoke: jitter, concealment" },
  "vad.segment": { words: "Speech", meaning: "From the first sample of your speech to the last, as they reached the edge" },
  "network.uplink": {
    words: "Uplink",
    meaning: "From your last sound at the microphone until it had reached the edge",
    kind: "rest",
  },
  "endpoint.wait": {
    words: "Endpoint wait",
    meaning: "From your last sound until the edge decided that you had finished",
    kind: "wait",
  },
  "endpoint.judge": { words: "Judge the sound", meaning: "The model was asked how complete the pause sounded" },
  "route.decide": { words: "Route decision", meaning: "What was known, predicted and chosen of who is to answer" },
  "generate_content": { words: "Answer", meaning: "One attempt at an answer; speculations and losers too" },
  "infer.request": { words: "Asked elsewhere", meaning: "One that was asked over the network; the rest is in its own trace file" },
  "infer.attempt": { words: "Attempt", meaning: "One attempt at an answer elsewhere, as it is seen from the edge" },
  "cloud.connect": { words: "Connect", meaning: "Opening the connection to the cloud" },
  "upstream.connect": { words: "Connect", meaning: "Opening the connection to another server" },
  "ingress.turn": { words: "Cloud's door", meaning: "The turn at the door of the cloud" },
  "replica.request": { words: "Replica", meaning: "One replica that was tried" },
  "replica.reserve": { words: "Find a place", meaning: "Until there was a place at a replica" },
  "replica.welcome": { words: "Welcome", meaning: "Until the replica had taken the turn in" },
  "queue.wait": { words: "Queue", meaning: "Until the model had room for the turn" },
  "audio.encode": { words: "Encode", meaning: "Your speech was made into what the model reads" },
  "prefill": { words: "Prefill", meaning: "The model read what was said so far" },
  "decode.first_text": { words: "First words", meaning: "Until the model gave the first words" },
  "decode.first_audio": { words: "First sound", meaning: "Until the model gave the first sound" },
  "stream": { words: "The rest", meaning: "All that came after the first sound" },
  "transcribe": { words: "Transcribe", meaning: "Your speech was made into words" },
  "judge_text": { words: "Judge the words", meaning: "How complete the words sounded" },
  "match": { words: "Match a skill", meaning: "Whether a skill can answer, such as the clock" },
  "answer.wait": {
    words: "Answer wait",
    meaning: "From the decision until whoever speaks gave the first sound",
    kind: "edge",
  },
  "floor.wait": { words: "Floor wait", meaning: "Another reply was still being spoken", kind: "wait" },
  "codec.first_packet": {
    words: "First packet",
    meaning: "The first sound was encoded and sent; the time to first audio ends here",
    kind: "edge",
  },
  "network.downlink": { words: "Downlink", meaning: "The first packet on its way to the browser", kind: "rest" },
  "jitter_buffer": {
    words: "Jitter buffer",
    meaning: "How long the browser kept the sound back, to play it without gaps",
    kind: "rest",
  },
  "playout.first_audio": {
    words: "Playout begins",
    meaning: "From the packet's arrival until the first loud sound: the browser's way to it; voice to voice ends here",
    kind: "rest",
  },
  "playout": { words: "Playout", meaning: "From the first packet of the reply to the last, or to the cut" },
  "interrupt": { words: "Interruption", meaning: "You spoke into the reply: from noticing it to silence" },
  "voice.connect": { words: "Connection", meaning: "How the session's connection came about" },
  "sdp.negotiate": { words: "Offer and answer", meaning: "What both sides can do was agreed on" },
  "session.admit": { words: "Admission", meaning: "Whether there was room for the session" },
  "ice.connect": { words: "Find a way", meaning: "Until a way through the network was found" },
  "dtls.handshake": { words: "Agree on keys", meaning: "The keys of the connection were agreed on" },
  "media.first_rx": { words: "First sound of yours", meaning: "Until the first packet of your sound arrived" },
  "engine.step_window": { words: "Batch", meaning: "Steps of the model for several turns at once" },
};

/**
 * The first word of a span's name says what it is; models' names may follow.
 *
 * @type {(name: string) => Wording | undefined}
 */
const wordingOf = (name) => WORDINGS[name] ?? WORDINGS[name.split(" ", 1)[0]];

/** @type {(name: string) => string} */
export function spanWords(name) {
  const wording = wordingOf(name);
  return wording ? [wording.words, ...name.split(" ").slice(1)].join(" ") : name;
}

/** @type {(name: string) => string} */
export const spanMeaning = (name) => wordingOf(name)?.meaning ?? "";

/** @type {(name: string) => SpanKind} */
export const spanKind = (name) => wordingOf(name)?.kind ?? "phase";
