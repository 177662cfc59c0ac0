import assert from "node:assert/strict";
import { test } from "node:test";

import { Disconnection, Refusal } from "../edge_client/page/faults.js";
import { Health } from "../edge_client/page/health.js";
import { backOffSec, Line } from "../edge_client/page/line.js";

const GONE = new Refusal(404, "no such call", null);
const never = () => new Promise(() => {});

/** A call that does what it is told to; `log` is what the line did to it. */
function scriptedCall({ isResumable = false, state = "alive" } = {}) {
  const health = new Health();
  health.become(state);
  const log = [];
  const close = () => (log.push("closed"), health.become("ended"));
  const hangUp = () => (log.push("hung up"), health.become("ended"));
  return { health, isResumable, log, close, hangUp, doubt: () => log.push("doubted") };
}

const session = () => scriptedCall({ isResumable: true });
const cut = (call) => call.health.become("silent", new Disconnection("silence"));
const end = (call) => call.health.become("ended", new Disconnection("gone"));
const heal = (call) => call.health.become("alive");

/**
 * A line whose n-th attempt is the n-th script: a call, a fault, or a function that gives one of them in its own time.
 * Every report is kept, and whose session each attempt was to go on with; pauses take no time.
 */
function scriptedLine(scripts, { pause = async () => {}, now = () => 0, isLeaving = () => false } = {}) {
  const states = [];
  const sessions = [];
  let reported = () => {};
  const dial = async (signal, old) => {
    sessions.push(old);
    const script = scripts.shift();
    const outcome = typeof script === "function" ? await script(signal, old) : script;
    if (outcome instanceof Error) throw outcome;
    return outcome;
  };
  const line = new Line({ dial, report: (state) => (states.push(state), reported()), pause, now, isLeaving });
  const until = async (name, count = 1) => {
    while (states.filter((state) => state.name === name).length < count) await new Promise((resolve) => (reported = resolve));
  };
  const names = () => states.map((state) => state.reached ?? state.name);
  const over = line.pickUp();
  return { line, states, sessions, until, names, over, hangUp: () => (line.hangUp(), over) };
}

test("a call is up until it is hung up", async () => {
  const call = scriptedCall();
  const { line, names, until, hangUp } = scriptedLine([call]);
  await until("live");
  assert.equal(line.isOpen, true);
  await hangUp();
  assert.deepEqual(names(), ["connecting", "called", "idle"]);
  assert.deepEqual(call.log, ["hung up"]);
  assert.equal(line.isOpen, false);
});

test("a call whose session cannot be resumed is dialled anew when it drops", async () => {
  const [first, second] = [scriptedCall(), scriptedCall()];
  const { names, sessions, until, hangUp } = scriptedLine([first, second]);
  await until("live");
  end(first);
  await until("live", 2);
  assert.deepEqual(names(), ["connecting", "called", "waiting", "connecting", "called"]);
  assert.deepEqual(sessions, [null, null]);
  assert.deepEqual(first.log, ["closed"]);
  await hangUp();
});

test("a silent call's session goes on over another connection, and the old one is closed", async () => {
  const [first, second] = [session(), session()];
  const { line, names, sessions, until, hangUp } = scriptedLine([first, second]);
  await until("live");
  cut(first);
  await until("live", 2);
  assert.deepEqual(names(), ["connecting", "called", "reconnecting", "resumed"]);
  assert.deepEqual(sessions, [null, first]);
  assert.deepEqual([first.log, second.log, line.call], [["closed"], [], second]);
  await hangUp();
});

test("a call that comes back to life goes on, and the attempt to replace it is given up", async () => {
  const first = session();
  let attempt;
  const { line, names, until, hangUp } = scriptedLine([first, (signal) => ((attempt = signal), never())]);
  await until("live");
  cut(first);
  await until("reconnecting");
  heal(first);
  await until("live", 2);
  assert.deepEqual(names(), ["connecting", "called", "reconnecting", "revived"]);
  assert.equal(attempt.aborted, true);
  assert.deepEqual([first.log, line.call], [[], first]);
  await hangUp();
});

test("an attempt that is answered too late is closed, and not the call that came back to life", async () => {
  const [first, late] = [session(), session()];
  let answer;
  const { line, until, hangUp } = scriptedLine([first, () => new Promise((resolve) => (answer = resolve))]);
  await until("live");
  cut(first);
  await until("reconnecting");
  heal(first);
  await until("live", 2);
  answer(late);
  await Promise.resolve();
  await new Promise(setImmediate);
  assert.deepEqual([first.log, late.log, line.call], [[], ["closed"], first]);
  await hangUp();
});

test("a connection that was answered stays the one to count on, though it is slow to open", async () => {
  const [first, slow] = [session(), scriptedCall({ isResumable: true, state: "opening" })];
  const { line, names, sessions, until, hangUp } = scriptedLine([first, slow, never]);
  await until("live");
  cut(first);
  await until("reconnecting");
  await new Promise(setImmediate);
  cut(slow);
  await until("reconnecting", 3);
  await new Promise(setImmediate);
  assert.deepEqual(sessions, [null, first, slow]);
  heal(slow);
  await until("live", 2);
  assert.equal(names().at(-1), "revived");
  assert.deepEqual([first.log, slow.log, line.call], [["closed"], [], slow]);
  await hangUp();
});

test("a connection that breaks while its replacement is tried does not end the attempt", async () => {
  const [first, second] = [session(), session()];
  let answer;
  const { names, until, hangUp } = scriptedLine([first, () => new Promise((resolve) => (answer = resolve))]);
  await until("live");
  cut(first);
  await until("reconnecting");
  end(first);
  answer(second);
  await until("live", 2);
  assert.equal(names().at(-1), "resumed");
  await hangUp();
});

test("while a session waits, an edge that cannot be reached or is full is tried again", async () => {
  const [first, second] = [session(), session()];
  const pauses = [];
  const pause = async (delaySec) => void pauses.push(delaySec);
  const scripts = [first, new TypeError("fetch"), new Refusal(503, "full", 7), new TypeError("fetch"), second];
  const { names, sessions, until, hangUp } = scriptedLine(scripts, { pause });
  await until("live");
  cut(first);
  await until("live", 2);
  assert.equal(names().at(-1), "resumed");
  assert.deepEqual(sessions.slice(1), [first, first, first, first]);
  assert.equal(pauses.length, 3, "the first attempt comes at once");
  assert.equal(pauses[1], 7);
  assert.ok(!names().includes("waiting"));
  await hangUp();
});

test("a call that comes back to life in a pause goes on at once", async () => {
  const first = session();
  const { names, until, hangUp } = scriptedLine([first, new TypeError("fetch")], { pause: never });
  await until("live");
  cut(first);
  await until("reconnecting", 2);
  heal(first);
  await until("live", 2);
  assert.equal(names().at(-1), "revived");
  await hangUp();
});

test("a session that the edge has forgotten makes room for a new one at once", async () => {
  const [first, second] = [session(), session()];
  const { names, sessions, until, hangUp } = scriptedLine([first, GONE, second], { pause: never });
  await until("live");
  cut(first);
  await until("live", 2);
  assert.deepEqual(names(), ["connecting", "called", "reconnecting", "connecting", "called"]);
  assert.deepEqual(sessions, [null, first, null]);
  assert.deepEqual(first.log, ["closed"]);
  await hangUp();
});

test("the connection to an edge that is about to end is waited for, though others know nothing of its session", async () => {
  const first = session();
  const pause = async () => heal(first);
  const { line, names, until, hangUp } = scriptedLine([first, GONE], { pause, isLeaving: () => true });
  await until("live");
  cut(first);
  await until("live", 2);
  assert.equal(names().at(-1), "revived");
  assert.deepEqual([first.log, line.call], [[], first]);
  await hangUp();
});

test("it is not waited for without end", async () => {
  const [first, second] = [session(), session()];
  const scripts = [first, ...Array(5).fill(GONE), second];
  const { names, sessions, until, hangUp } = scriptedLine(scripts, { isLeaving: () => true });
  await until("live");
  cut(first);
  await until("live", 2);
  assert.equal(names().at(-1), "called");
  assert.deepEqual(sessions, [null, ...Array(5).fill(first), null]);
  await hangUp();
});

test("a connection that its edge has closed is not waited for", async () => {
  const [first, second] = [session(), session()];
  const { names, sessions, until, hangUp } = scriptedLine([first, GONE, second], { isLeaving: () => true });
  await until("live");
  end(first);
  await until("live", 2);
  assert.equal(names().at(-1), "called");
  assert.deepEqual(sessions, [null, first, null]);
  await hangUp();
});

test("connections that break again and again are not tried without pauses", async () => {
  const calls = [session(), session(), session()];
  const pauses = [];
  const pause = async (delaySec) => void pauses.push(delaySec);
  const { until, hangUp } = scriptedLine([...calls], { pause });
  for (const [n, call] of calls.entries()) {
    await until("live", n + 1);
    if (n < 2) end(call);
  }
  assert.equal(pauses.length, 1);
  await hangUp();
});

test("hanging up while a session waits tells the edge, and gives the attempt up", async () => {
  const first = session();
  let attempt;
  const { names, until, hangUp } = scriptedLine([first, (signal) => ((attempt = signal), never())]);
  await until("live");
  cut(first);
  await until("reconnecting");
  await hangUp();
  assert.equal(names().at(-1), "idle");
  assert.deepEqual(first.log, ["hung up"]);
  assert.equal(attempt.aborted, true);
});

test("another network makes the call doubtful, and a pause short", async () => {
  const [first, second] = [session(), session()];
  const pause = (delaySec, signal) => new Promise((resolve) => (signal.aborted ? resolve() : (signal.onabort = resolve)));
  const { line, until, hangUp } = scriptedLine([first, new TypeError("fetch"), second], { pause });
  await until("live");
  cut(first);
  await until("reconnecting", 2);
  line.hurry();
  await until("live", 2);
  line.hurry();
  assert.deepEqual([first.log, second.log], [["doubted", "closed"], ["doubted"]]);
  await hangUp();
});

test("an unreachable server is tried again after growing pauses", async () => {
  const faults = [1, 2, 3].map(() => new TypeError("fetch"));
  const { states, until, hangUp } = scriptedLine([...faults, scriptedCall()]);
  await until("live");
  const pauses = states.filter(({ name }) => name === "waiting").map(({ delaySec }) => delaySec);
  assert.equal(pauses.length, 3);
  assert.ok(pauses[0] < pauses[1] && pauses[1] < pauses[2], `${pauses}`);
  await hangUp();
});

test("a busy server names the pause", async () => {
  const { states, until, hangUp } = scriptedLine([new Refusal(503, "busy", 7), scriptedCall()]);
  await until("live");
  assert.equal(states.find(({ name }) => name === "waiting").delaySec, 7);
  await hangUp();
});

test("a refusal that a second attempt cannot cure ends the line", async () => {
  const refusal = new Refusal(401, "no key", null);
  const { line, states, over } = scriptedLine([refusal]);
  await over;
  assert.deepEqual(states.at(-1), { name: "failed", fault: refusal });
  assert.equal(line.isOpen, false);
});

test("hanging up does not wait for an attempt that hangs", async () => {
  const { names, hangUp } = scriptedLine([never]);
  await hangUp();
  assert.deepEqual(names(), ["connecting", "idle"]);
});

test("a first call that never opens is closed before the next is dialled", async () => {
  const deaf = scriptedCall({ state: "opening" });
  const { names, until, hangUp } = scriptedLine([deaf, scriptedCall()]);
  await new Promise(setImmediate);
  end(deaf);
  await until("live");
  assert.deepEqual(names(), ["connecting", "waiting", "connecting", "called"]);
  assert.deepEqual(deaf.log, ["closed"]);
  await hangUp();
});

test("pauses double up to a limit and are never the same for all callers", () => {
  assert.equal(backOffSec(0, 0.5), 0.5);
  assert.equal(backOffSec(2, 0.5), 2);
  assert.equal(backOffSec(30, 0.5), 10);
  assert.equal(backOffSec(30, 0.5, 3), 3);
  assert.ok(backOffSec(3, 0) < backOffSec(3, 0.99));
});
