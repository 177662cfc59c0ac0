import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { Call } from "../edge_client/page/call.js";
import { Refusal } from "../edge_client/page/faults.js";
import { answer, ScriptedBrowser, settle } from "./javascript/scripted_browser.mjs";

const URL_OF_CALLS = new URL("http://edge/v1/realtime/calls");
const TRACK = { kind: "audio" };

const browser = new ScriptedBrowser();
const { posts, answers } = browser;

beforeEach(() => {
  browser.install();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
});

afterEach(() => {
  mock.timers.reset();
  browser.forget();
});

/** A call whose offer was answered, its connection, and the events that it told. */
async function dialled(parts = {}) {
  const events = [];
  const call = new Call({ key: "sesame", track: TRACK, onStream: () => {}, onEvent: (event) => events.push(event), ...parts });
  answers.push(answer);
  await call.dial(URL_OF_CALLS, new AbortController().signal);
  return { call, events, connection: browser.connections.at(-1) };
}

/** One in the middle of a session. */
async function talking(parts) {
  const begun = await dialled(parts);
  begun.connection.open();
  begun.connection.tell({ type: "session.created", event_id: "event_1" });
  return begun;
}

/** Lets so many heartbeats pass, `packets` arriving before each. */
async function beat(connection, count, packets = 0) {
  for (let n = 0; n < count; n += 1) {
    connection.arrived += packets;
    mock.timers.tick(500);
    await settle();
  }
}

test("a call is dialled with the key, and alive when its channel opens", async () => {
  const { call, connection } = await dialled();
  const [{ url, method, headers, body }] = posts;
  assert.deepEqual([url, method, body], [URL_OF_CALLS.href, "POST", "offer"]);
  assert.deepEqual(headers, { Authorization: "Bearer sesame", "Content-Type": "application/sdp" });
  assert.deepEqual([connection.remote, call.health.state], ["answer", "opening"]);
  connection.open();
  assert.equal(call.health.state, "alive");
});

test("a link over which nothing arrives for three seconds is silent, and alive again with the first packet", async () => {
  const { call, connection } = await talking();
  await beat(connection, 4, 25);
  await beat(connection, 5);
  assert.equal(call.health.state, "alive");
  await beat(connection, 2);
  assert.equal(call.health.state, "silent");
  await beat(connection, 1, 1);
  assert.equal(call.health.state, "alive");
});

test("the next connection asks for the same session, and tells no event twice", async () => {
  const { call, connection, events } = await talking();
  connection.tell({ type: "response.created", event_id: "event_2" });
  const next = await talking({ resumption: call.resumption });
  assert.equal(posts[1].headers["Antiphon-Resume"], "token");
  assert.equal(posts[1].headers["Antiphon-Last-Event"], "event_2");
  next.connection.tell({ type: "response.done", event_id: "event_3" });
  connection.tell({ type: "response.done", event_id: "event_3" });
  assert.deepEqual(events.map(({ event_id: id }) => id), ["event_1", "event_2"]);
  assert.deepEqual(next.events.map(({ event_id: id }) => id), ["event_3"]);
});

test("a first call that does not open is over, one that resumes a session is only doubted", async () => {
  const first = await dialled();
  mock.timers.tick(10_000);
  assert.equal(first.call.health.state, "ended");
  const { call } = await talking();
  const next = await dialled({ resumption: call.resumption });
  mock.timers.tick(5_000);
  assert.equal(next.call.health.state, "silent");
  next.connection.open();
  assert.equal(next.call.health.state, "alive");
});

test("a refusal says what the edge said, and leaves nothing open", async () => {
  answers.push(() => Response.json({ error: { message: "full" } }, { status: 503, headers: { "Retry-After": "7" } }));
  const call = new Call({ key: null, track: TRACK, onStream: () => {}, onEvent: () => {} });
  await assert.rejects(call.dial(URL_OF_CALLS, new AbortController().signal), (fault) => {
    return fault instanceof Refusal && fault.status === 503 && fault.retryAfterSec === 7 && fault.message === "full";
  });
  assert.equal(browser.connections[0].connectionState, "closed");
});

test("an offer that is given up leaves nothing open", async () => {
  const giveUp = new AbortController();
  answers.push(({ signal }) => new Promise((_, reject) => (signal.onabort = () => reject(signal.reason))));
  const call = new Call({ key: null, track: TRACK, onStream: () => {}, onEvent: () => {} });
  const refused = assert.rejects(call.dial(URL_OF_CALLS, giveUp.signal));
  await settle();
  giveUp.abort();
  await refused;
  assert.equal(browser.connections[0].connectionState, "closed");
});

test("hanging up ends the session first and the connection then, and tells nothing more", async () => {
  const { call, connection, events } = await talking();
  let told;
  answers.push(() => new Promise((resolve) => (told = resolve)));
  call.hangUp();
  const { url, method, headers, keepalive } = posts.at(-1);
  assert.deepEqual([url, method, keepalive], ["http://edge/v1/realtime/calls/rtc_1", "DELETE", true]);
  assert.deepEqual(headers, { Authorization: "Bearer sesame" });
  connection.tell({ type: "response.done", event_id: "event_9" });
  assert.deepEqual([connection.connectionState, events.length], ["new", 1]);
  call.hangUp();
  assert.deepEqual([connection.connectionState, posts.length], ["new", 2], "once is enough");
  told(new Response());
  await settle();
  assert.deepEqual([connection.connectionState, call.health.state], ["closed", "ended"]);
});

test("hanging up does not wait for an edge that is out of reach", async () => {
  const { call, connection } = await talking();
  answers.push(() => new Promise(() => {}));
  call.hangUp();
  mock.timers.tick(1_000);
  assert.equal(connection.connectionState, "closed");
});

test("a broken connection is over; so is one that the other side closed", async () => {
  const broken = await talking();
  broken.connection.connectionState = "failed";
  broken.connection.onconnectionstatechange();
  const closed = await talking();
  closed.connection.channel.onclose();
  assert.deepEqual([broken.call.health.state, closed.call.health.state], ["ended", "ended"]);
});

test("the receiver is asked for its shortest delay, by whichever name it knows", async () => {
  const { connection } = await dialled();
  const [current, older] = [{ jitterBufferTarget: null }, { playoutDelayHint: null }];
  for (const receiver of [current, older]) connection.ontrack({ receiver, streams: [{}] });
  assert.deepEqual([current, older], [{ jitterBufferTarget: 0 }, { playoutDelayHint: 0 }]);
});
