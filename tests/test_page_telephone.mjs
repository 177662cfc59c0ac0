import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { Telephone } from "../edge_client/page/telephone.js";
import { answer, ScriptedBrowser, settle } from "./javascript/scripted_browser.mjs";

const gone = () => Response.json({ error: { message: "no such call" } }, { status: 404 });
const never = () => new Promise(() => {});

const browser = new ScriptedBrowser();
const { answers, connections, microphones, posts } = browser;

beforeEach(() => {
  browser.install();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
});

afterEach(() => {
  mock.timers.reset();
  browser.forget();
});

/** A telephone in the middle of a call, whose next offers are answered by `next`. */
async function talking(...next) {
  const nothing = () => {};
  const telephone = new Telephone({
    audio: { play: async () => {} },
    wishes: () => ({ deviceId: "", echoCancellation: true }),
    onChange: nothing,
    onLine: nothing,
    onLevel: nothing,
    onMeasurement: nothing,
  });
  answers.push(answer, ...next);
  telephone.talk();
  await settle();
  await begin(connections[0], "event_1");
  return telephone;
}

/** A connection opens, and a session begins on it. */
async function begin(connection, id) {
  connection.open();
  connection.tell({ type: "session.created", event_id: id });
  connection.sent.length = 0;
  await settle();
}

/** Nothing arrives any more, until the telephone has noticed. */
async function cut() {
  for (let n = 0; n < 8; n += 1) {
    mock.timers.tick(500);
    await settle();
  }
}

const types = ({ sent }) => sent.map(({ type }) => type);

test("a session goes on over another connection, without a greeting, and gets what was typed meanwhile", async () => {
  let answerLate;
  const telephone = await talking(() => new Promise((resolve) => (answerLate = () => resolve(answer()))));
  await cut();
  assert.equal(telephone.lineState.name, "reconnecting");
  telephone.type("Are you there?");
  answerLate();
  await settle();
  const [old, next] = connections;
  assert.deepEqual([old.connectionState, types(old)], ["closed", []]);
  next.open();
  await settle();
  assert.equal(telephone.lineState.name, "live");
  assert.deepEqual(types(next), ["conversation.item.create", "response.create"]);
  assert.equal(posts[1].headers["Antiphon-Last-Event"], "event_1");
  assert.equal(next.sender.track, microphones[0]);
});

test("events that were missed are received once, and the captions go on", async () => {
  const telephone = await talking(answer);
  const said = (delta, id) => ({ type: "response.output_audio_transcript.delta", item_id: "a", response_id: "r", delta, event_id: id });
  connections[0].tell(said("It is ", "event_2"));
  await cut();
  const [old, next] = connections;
  next.open();
  await settle();
  old.tell(said("noon.", "event_3"));
  next.tell(said("noon.", "event_3"));
  next.tell(said("noon.", "event_3"));
  assert.deepEqual(telephone.conversation.captions.map(({ text }) => text), ["It is noon."]);
});

test("a line that comes back to life by itself goes on, and the other connection is given up", async () => {
  const telephone = await talking(({ signal }) => new Promise((_, reject) => (signal.onabort = () => reject(signal.reason))));
  await cut();
  const [old, next] = connections;
  old.arrived += 1;
  mock.timers.tick(500);
  await settle();
  assert.equal(telephone.lineState.name, "live");
  assert.deepEqual([old.connectionState, next.connectionState], ["new", "closed"]);
});

test("a microphone that is changed while the line is down is heard on the next connection", async () => {
  let answerLate;
  const telephone = await talking(() => new Promise((resolve) => (answerLate = () => resolve(answer()))));
  await cut();
  await telephone.changeMicrophone();
  answerLate();
  await settle();
  connections[1].open();
  await settle();
  assert.equal(microphones.length, 2);
  assert.equal(connections[1].sender.track, microphones[1]);
});

test("hanging up while the line is down ends the session, the attempt and the microphone", async () => {
  const telephone = await talking(never, never);
  await cut();
  telephone.hangUp();
  await settle();
  assert.equal(telephone.lineState.name, "idle");
  assert.deepEqual(posts.map(({ method }) => method), ["POST", "POST", "DELETE"]);
  assert.equal(microphones[0].isOpen, false);
  mock.timers.tick(1_000);
  assert.equal(connections[0].connectionState, "closed");
});

test("a session that the edge has forgotten is followed by one that is told what was said", async () => {
  const telephone = await talking(gone, answer);
  connections[0].tell({ type: "response.output_text.done", item_id: "a", response_id: "r", text: "Hello.", event_id: "event_2" });
  connections[0].tell({ type: "response.done", response: { id: "r", status: "completed" }, event_id: "event_3" });
  await cut();
  const next = connections[2];
  assert.deepEqual(Object.keys(posts[2].headers), ["Content-Type"]);
  next.open();
  next.tell({ type: "session.created", event_id: "event_1" });
  assert.deepEqual(types(next), ["session.update", "conversation.item.create", "antiphon.clock.ping"]);
  assert.equal(telephone.conversation.captions.at(-1).text, "Connected again");
});

test("leaving the page hangs up at once", async () => {
  const telephone = await talking(never);
  telephone.abandon();
  assert.deepEqual([posts.at(-1).method, posts.at(-1).keepalive], ["DELETE", true]);
  await settle();
  assert.equal(telephone.lineState.name, "idle");
  assert.equal(posts.length, 2);
});

test("a reply that was heard out is reported with what the browser counted, by the edge's clock", async () => {
  await talking();
  const [connection] = connections;
  const tell = (type, fields) => connection.tell({ type, ...fields });
  tell("response.created", { response: { id: "r" } });
  const ping = connection.sent.at(-1);
  tell("antiphon.clock.pong", { client_ms: ping.client_ms, server_ms: ping.client_ms });
  tell("output_audio_buffer.started", { response_id: "r" });
  await settle();
  tell("response.done", { response: { id: "r" }, antiphon: { turn: { turn_id: "turn_1" } } });
  connection.arrived += 25;
  tell("output_audio_buffer.stopped", { response_id: "r" });
  await settle();
  const { type, turn_id, packets_lost, clock } = connection.sent.at(-1);
  assert.deepEqual([type, turn_id, packets_lost, Math.abs(clock.offset_ms) < 1_000], ["antiphon.turn.report", "turn_1", undefined, true]);
});

// -- an edge that is about to end --------------------------------------------------------------------------------------

const ticket = { type: "antiphon.session.ticket", event_id: "event_9", ticket: "sealed", expires_at: 1_700_000_000 };

test("a session moves to another edge without a word, with the microphone and nothing said twice", async () => {
  const telephone = await talking(answer);
  const [old] = connections;
  old.tell({ type: "response.output_text.done", item_id: "a", response_id: "r", text: "Hello.", event_id: "event_2" });
  old.tell({ type: "antiphon.server.draining", event_id: "event_3", deadline_ms: 1 });
  old.tell(ticket);
  await settle();
  const next = connections[1];
  assert.deepEqual([posts[1].body.get("sdp"), posts[1].body.get("ticket")], ["offer", "sealed"]);
  assert.deepEqual(Object.keys(posts[1].headers), []);
  assert.notEqual(next.sender.track, microphones[0]);
  next.open();
  next.tell({ type: "session.created", event_id: "event_1" });
  await settle();
  assert.equal(old.connectionState, "closed");
  assert.equal(next.sender.track, microphones[0]);
  assert.equal(telephone.lineState.name, "live");
  assert.deepEqual(types(next), ["antiphon.clock.ping"]);
  assert.deepEqual(telephone.conversation.captions.map(({ text }) => text), ["Hello."]);
  telephone.type("And now?");
  assert.deepEqual(types(next).slice(1), ["conversation.item.create", "response.create"]);
  assert.deepEqual(posts.map(({ method }) => method), ["POST", "POST"]);
});

test("who speaks before the other edge is there stays, and moves with the next ticket", async () => {
  const telephone = await talking(answer, answer);
  const [old] = connections;
  old.tell(ticket);
  await settle();
  old.tell({ type: "input_audio_buffer.speech_started", event_id: "event_10", item_id: "b", audio_start_ms: 1 });
  connections[1].open();
  await settle();
  assert.deepEqual([old.connectionState, connections[1].connectionState], ["new", "closed"]);
  assert.equal(telephone.line.call.track, microphones[0]);
  old.tell({ ...ticket, event_id: "event_11", ticket: "next" });
  await settle();
  connections[2].open();
  await settle();
  assert.equal(posts[2].body.get("ticket"), "next");
  assert.deepEqual([old.connectionState, connections[2].connectionState], ["closed", "new"]);
});

test("where nobody takes the session over yet it is tried again, and a ticket that is no good is not", async () => {
  const full = () => Response.json({ error: { message: "full" } }, { status: 503, headers: { "Retry-After": "1" } });
  const bad = () => Response.json({ error: { message: "used" } }, { status: 401 });
  const telephone = await talking(full, bad);
  connections[0].tell(ticket);
  await settle();
  mock.timers.tick(1_000);
  await settle();
  assert.equal(posts.length, 3);
  mock.timers.tick(1_500);
  await settle();
  assert.equal(posts.length, 3);
  assert.deepEqual([telephone.lineState.name, connections[0].connectionState], ["live", "new"]);
});
