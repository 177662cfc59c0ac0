import assert from "node:assert/strict";
import { test } from "node:test";

import { isSettled, NO_CAPTIONS, noticeEvent, reduceCaptions } from "../edge_client/page/captions.js";

const after = (...events) => events.reduce(reduceCaptions, NO_CAPTIONS);
const shown = (captions) => captions.map(({ voice, text, unheard, status }) => [voice, text, unheard, status]);

const TRANSCRIPTION = "conversation.item.input_audio_transcription";
const started = (id) => ({ type: "input_audio_buffer.speech_started", item_id: id, audio_start_ms: 0 });
const added = (id, role, content = []) => ({
  type: "conversation.item.added",
  item: { type: "message", id, role, content },
});
const heard = (id, delta) => ({ type: `${TRANSCRIPTION}.delta`, item_id: id, delta });
const understood = (id, transcript) => ({ type: `${TRANSCRIPTION}.completed`, item_id: id, transcript });
const said = (id, delta) => ({
  type: "response.output_audio_transcript.delta",
  item_id: id,
  response_id: "resp_1",
  delta,
});
const done = (status) => ({ type: "response.done", response: { id: "resp_1", status } });
const truncated = (id) => ({ type: "conversation.item.truncated", item_id: id, audio_end_ms: 900 });

const question = [started("u"), heard("u", "what"), heard("u", " time"), added("u", "user"), understood("u", "What time is it?")];
const reply = [added("a", "assistant"), said("a", "It is "), said("a", "noon. "), said("a", "Anything else?")];

test("words appear as they are guessed, and the final transcript replaces them", () => {
  assert.deepEqual(shown(after(...question.slice(0, 3))), [["near", "what time", "", "partial"]]);
  assert.deepEqual(shown(after(...question)), [["near", "What time is it?", "", "final"]]);
});

test("a reply grows under the question and is final when it is done", () => {
  assert.deepEqual(shown(after(...question, ...reply, done("completed"))), [
    ["near", "What time is it?", "", "final"],
    ["far", "It is noon. Anything else?", "", "final"],
  ]);
});

test("of a cut reply, what was heard stays and the rest is kept apart", () => {
  const item = { id: "a", role: "assistant", content: [{ type: "output_audio", transcript: "It is noon." }] };
  const cut = after(...question, ...reply, truncated("a"), { type: "conversation.item.retrieved", item }, done("cancelled"));
  assert.deepEqual(shown(cut).at(-1), ["far", "It is noon.", " Anything else?", "cut"]);
});

test("the transcript that closes a cut reply tells the same", () => {
  const closing = {
    type: "response.output_audio_transcript.done",
    item_id: "a",
    response_id: "resp_1",
    transcript: "It is",
  };
  const cut = after(...reply, truncated("a"), closing);
  assert.deepEqual(shown(cut), [["far", "It is", " noon. Anything else?", "cut"]]);
});

test("a reply that had not begun to sound leaves no line", () => {
  assert.deepEqual(shown(after(...question, added("a", "assistant"), done("cancelled"))).length, 2);
  assert.deepEqual(shown(after(...reply, done("cancelled"))), [["far", "It is noon. Anything else?", "", "cut"]]);
});

test("sound without words leaves no line", () => {
  assert.deepEqual(after(started("u"), heard("u", "hm"), added("u", "user"), understood("u", "")), []);
});

test("speech that turned out to be no turn goes when the next one begins", () => {
  const captions = after(started("u1"), heard("u1", "mhm"), started("u2"), heard("u2", "next"));
  assert.deepEqual(shown(captions), [["near", "next", "", "partial"]]);
});

test("a late transcript still finds the turn that was committed before the next one began", () => {
  const captions = after(started("u1"), added("u1", "user"), started("u2"), understood("u1", "First."));
  assert.deepEqual(shown(captions)[0], ["near", "First.", "", "final"]);
});

test("typed words are there once, however often they are echoed", () => {
  const typed = added("u", "user", [{ type: "input_text", text: "Good evening" }]);
  assert.deepEqual(shown(after(typed, typed)), [["near", "Good evening", "", "final"]]);
});

test("a text reply is shown like a spoken one", () => {
  const delta = { type: "response.output_text.delta", item_id: "a", response_id: "resp_1", delta: "Noon." };
  assert.deepEqual(shown(after(delta)), [["far", "Noon.", "", "partial"]]);
});

test("events the captions do not know change nothing", () => {
  const captions = after(...question);
  assert.equal(reduceCaptions(captions, { type: "rate_limits.updated" }), captions);
  assert.equal(reduceCaptions(captions, { type: "constructor" }), captions);
});

test("only captions with words and nothing more to come are settled", () => {
  const captions = after(...question, ...reply, noticeEvent("n", "Connected again"));
  assert.deepEqual(captions.map(isSettled), [true, false, true]);
});
