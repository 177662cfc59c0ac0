import assert from "node:assert/strict";
import { test } from "node:test";

import { Conversation } from "../edge_client/page/conversation.js";

/** A conversation and everything it sends, but for what the reporter says beside it. */
function begin() {
  const sent = [];
  const send = (request) => request.type.startsWith("antiphon.") || sent.push(request);
  const conversation = new Conversation({ send, onChange: () => {}, now: () => 0 });
  const types = () => sent.splice(0).map(({ type }) => type);
  return { conversation, sent, types };
}

const created = { type: "session.created", session: { type: "realtime" } };
const responding = (id = "r") => ({ type: "response.created", response: { id } });
const done = (status = "completed", id = "r") => ({ type: "response.done", response: { id, status } });

test("the session is set up as soon as it is there", () => {
  const { conversation, sent } = begin();
  conversation.receive(created);
  assert.deepEqual(sent, [
    {
      type: "session.update",
      session: {
        type: "realtime",
        audio: { input: { transcription: { model: "moonshine-tiny" }, turn_detection: { type: "semantic_vad" } } },
      },
    },
  ]);
});

test("what is typed without a call is sent when there is one", () => {
  const { conversation, types } = begin();
  conversation.type("Good evening");
  assert.deepEqual(types(), []);
  assert.deepEqual(conversation.captions.map(({ text }) => text), ["Good evening"]);
  conversation.receive(created);
  assert.deepEqual(types(), ["session.update", "conversation.item.create", "response.create"]);
});

test("what is typed into a reply cuts it and waits for its end", () => {
  const { conversation, types } = begin();
  conversation.receive(created);
  conversation.receive(responding());
  types();
  conversation.type("Stop, another question");
  assert.deepEqual(types(), ["response.cancel", "output_audio_buffer.clear"]);
  conversation.receive(done("cancelled"));
  assert.deepEqual(types(), ["conversation.item.create", "response.create"]);
});

test("two typed messages are answered one after the other", () => {
  const { conversation, types } = begin();
  conversation.type("One");
  conversation.type("Two");
  conversation.receive(created);
  assert.deepEqual(types().slice(1), ["conversation.item.create", "response.create"]);
  conversation.receive(responding());
  conversation.receive(done());
  assert.deepEqual(types(), ["conversation.item.create", "response.create"]);
});

test("what is typed next waits until the answer was heard, unless it is to cut it", () => {
  for (const end of ["output_audio_buffer.stopped", "output_audio_buffer.cleared"]) {
    const { conversation, types } = begin();
    conversation.type("One");
    conversation.type("Two");
    conversation.receive(created);
    conversation.receive(responding());
    conversation.receive({ type: "output_audio_buffer.started", response_id: "r" });
    types();
    conversation.receive(done());
    assert.deepEqual(types(), []);
    conversation.receive({ type: end, response_id: "r" });
    assert.deepEqual(types(), ["conversation.item.create", "response.create"]);
  }
});

test("a refused response does not hold up what is typed next", () => {
  const { conversation, sent, types } = begin();
  conversation.receive(created);
  conversation.type("One");
  const { event_id } = sent.at(-1);
  types();
  conversation.receive({ type: "error", error: { message: "No.", event_id } });
  conversation.type("Two");
  assert.deepEqual(types(), ["conversation.item.create", "response.create"]);
});

test("after a reconnection the server is told what was said", () => {
  const { conversation, sent } = begin();
  conversation.receive(created);
  conversation.type("Good evening");
  conversation.receive(responding());
  conversation.receive({ type: "response.output_audio_transcript.delta", item_id: "a", response_id: "r", delta: "Hello." });
  conversation.receive(done());
  conversation.disconnected();
  sent.length = 0;
  conversation.receive(created);
  const told = sent.filter(({ type }) => type === "conversation.item.create").map(({ item }) => [item.role, item.content[0]]);
  assert.deepEqual(told, [
    ["user", { type: "input_text", text: "Good evening" }],
    ["assistant", { type: "output_text", text: "Hello." }],
  ]);
  assert.equal(conversation.captions.at(-1).text, "Connected again");
  assert.ok(!sent.some(({ type }) => type === "response.create"), "nothing is asked again");
});

test("what was typed and not answered is asked again in the next session, once", () => {
  const { conversation, types } = begin();
  conversation.receive(created);
  conversation.type("Good evening");
  types();
  conversation.disconnected();
  conversation.receive(created);
  assert.deepEqual(types(), ["session.update", "conversation.item.create", "response.create"]);
  conversation.disconnected();
  conversation.receive(created);
  assert.deepEqual(types(), ["session.update", "conversation.item.create"], "remembered, but not asked");
});

test("what is done while the line is down is sent when the session goes on, and nothing else is", () => {
  const { conversation, types } = begin();
  conversation.receive(created);
  conversation.receive(responding());
  types();
  conversation.hold();
  conversation.type("Something else");
  conversation.pushToTalk = true;
  assert.deepEqual(types(), []);
  conversation.goOn({ overAnother: true });
  assert.deepEqual(types(), ["response.cancel", "output_audio_buffer.clear", "session.update"]);
  conversation.receive(done("cancelled"));
  assert.deepEqual(types(), ["conversation.item.create", "response.create"]);
});

test("a session that goes on is not told again what was said", () => {
  const { conversation, types } = begin();
  conversation.receive(created);
  conversation.receive({ type: "response.output_audio_transcript.delta", item_id: "a", response_id: "r", delta: "Hello." });
  types();
  const { captions } = conversation;
  conversation.hold();
  conversation.goOn({ overAnother: true });
  assert.deepEqual(types(), []);
  assert.equal(conversation.captions, captions);
});

/** One that typed something into a link that was dead already, and goes on over another connection. */
function beginInDoubt() {
  const begun = begin();
  begun.conversation.receive(created);
  begun.conversation.type("Good evening");
  const item = begun.sent.find(({ item }) => item).item;
  begun.conversation.hold();
  begun.types();
  begun.conversation.goOn({ overAnother: true });
  assert.deepEqual(begun.types(), ["session.update"], "an answer to this comes after all that was missed");
  return { ...begun, item };
}

test("what was lost on its way is sent again", () => {
  const { conversation, types, sent, item } = beginInDoubt();
  conversation.receive({ type: "session.updated" });
  assert.equal(sent[0].item.id, item.id);
  assert.deepEqual(types(), ["conversation.item.create", "response.create"]);
  conversation.receive({ type: "session.updated" });
  assert.deepEqual(types(), []);
});

test("what had arrived is not sent again", () => {
  const { conversation, types, item } = beginInDoubt();
  conversation.receive({ type: "conversation.item.added", item });
  conversation.receive(responding());
  conversation.receive({ type: "session.updated" });
  assert.deepEqual(types(), []);
});

test("where only the question had arrived, only the answer is asked for", () => {
  const { conversation, types, item } = beginInDoubt();
  conversation.receive({ type: "conversation.item.added", item });
  conversation.receive({ type: "session.updated" });
  assert.deepEqual(types(), ["response.create"]);
});

test("over the same connection nothing was lost, only late", () => {
  const { conversation, types } = begin();
  conversation.receive(created);
  conversation.type("Good evening");
  types();
  conversation.hold();
  conversation.goOn({ overAnother: false });
  assert.deepEqual(types(), []);
});

test("push to talk: an end of speech that was lost is told again, one that arrived is not", () => {
  for (const arrived of [false, true]) {
    const { conversation, types } = begin();
    conversation.receive(created);
    conversation.endSpeech();
    conversation.hold();
    conversation.goOn({ overAnother: true });
    types();
    if (arrived) conversation.receive({ type: "input_audio_buffer.committed", item_id: "u" });
    conversation.receive({ type: "session.updated" });
    assert.deepEqual(types(), arrived ? [] : ["input_audio_buffer.commit", "response.create"]);
  }
});

test("push to talk: letting go while the line is down ends the speech that was heard before", () => {
  const { conversation, types } = begin();
  conversation.receive(created);
  conversation.beginSpeech();
  types();
  conversation.hold();
  conversation.endSpeech();
  conversation.goOn({ overAnother: true });
  assert.deepEqual(types(), ["input_audio_buffer.commit", "response.create"]);
});

test("a new call knows nothing of the last", () => {
  const { conversation, types } = begin();
  conversation.receive(created);
  conversation.type("Good evening");
  conversation.restart();
  types();
  conversation.receive(created);
  assert.deepEqual(types(), ["session.update"]);
  assert.deepEqual(conversation.captions, []);
});

test("of a cut reply, the page asks what was heard", () => {
  const { conversation, sent } = begin();
  conversation.receive(created);
  conversation.receive({ type: "conversation.item.truncated", item_id: "a", audio_end_ms: 500 });
  assert.deepEqual(sent.at(-1), { type: "conversation.item.retrieve", item_id: "a" });
});

test("push to talk turns the server's ears off, and ends turns itself", () => {
  const { conversation, sent, types } = begin();
  conversation.pushToTalk = true;
  conversation.receive(created);
  assert.equal(sent[0].session.audio.input.turn_detection, null);
  types();
  conversation.beginSpeech();
  conversation.endSpeech();
  assert.deepEqual(types(), ["input_audio_buffer.clear", "input_audio_buffer.commit", "response.create"]);
});

test("a running reply gives way to a pressed button; what has ended is not cancelled", () => {
  const { conversation, types } = begin();
  conversation.receive(created);
  conversation.receive(responding());
  conversation.receive({ type: "output_audio_buffer.started", response_id: "r" });
  types();
  conversation.beginSpeech();
  assert.deepEqual(types(), ["response.cancel", "output_audio_buffer.clear", "input_audio_buffer.clear"]);
  conversation.receive(done("cancelled"));
  conversation.receive({ type: "output_audio_buffer.cleared", response_id: "r" });
  conversation.interrupt();
  assert.deepEqual(types(), []);
});

test("trouble is shown until the next reply, unless it means nothing to the person", () => {
  const { conversation } = begin();
  conversation.receive({ type: "error", error: { code: "response_cancel_not_active", message: "none" } });
  assert.equal(conversation.trouble, null);
  conversation.receive({ type: "error", error: { message: "The session is too long." } });
  assert.equal(conversation.trouble, "The session is too long.");
  conversation.receive(responding());
  assert.equal(conversation.trouble, null);
  conversation.receive(done("failed"));
  assert.match(conversation.trouble, /could not answer/);
});

test("what the edge says of pings and reports is nobody's trouble", () => {
  const { conversation } = begin();
  conversation.receive(created);
  conversation.receive({ type: "error", error: { event_id: "aside_ping_1", message: "expected a client event type" } });
  assert.equal(conversation.trouble, null);
});
