import assert from "node:assert/strict";
import { test } from "node:test";

import { FIRST_PHASE, reducePhase } from "../edge_client/page/phase.js";

const names = (...events) => {
  let phase = FIRST_PHASE;
  return events.map((event) => (phase = reducePhase(phase, event)).name);
};

const started = { type: "input_audio_buffer.speech_started" };
const stopped = { type: "input_audio_buffer.speech_stopped" };
const committed = { type: "input_audio_buffer.committed" };
const understood = (transcript) => ({ type: "conversation.item.input_audio_transcription.completed", transcript });
const created = { type: "response.created", response: {} };
const sounding = { type: "output_audio_buffer.started" };
const done = { type: "response.done", response: {} };
const silent = { type: "output_audio_buffer.stopped" };
const cleared = { type: "output_audio_buffer.cleared" };

test("a turn goes round", () => {
  assert.deepEqual(names(started, stopped, committed, understood("Hi."), created, sounding, done, silent), [
    "hearing",
    "listening",
    "thinking",
    "thinking",
    "thinking",
    "speaking",
    "speaking",
    "listening",
  ]);
});

test("a barge-in is heard, although the reply it cut is cleared afterwards", () => {
  assert.deepEqual(names(created, sounding, started, cleared, done).at(-1), "hearing");
});

test("nobody thinks about speech without words, nor about noise", () => {
  assert.equal(names(started, stopped, committed, understood("")).at(-1), "listening");
  assert.equal(names(started, stopped).at(-1), "listening");
});

test("a reply without sound ends the thinking", () => {
  assert.equal(names(created, done).at(-1), "listening");
});
