import assert from "node:assert/strict";
import { test } from "node:test";

import { Disconnection, Refusal } from "../edge_client/page/faults.js";
import { backOffSec, Line } from "../edge_client/page/line.js";

/** A call that ends when it is told to. */
function scriptedCall() {
  const call = { closed: false, close: () => (call.closed = true) };
  call.ended = new Promise((resolve) => (call.end = () => resolve(new Disconnection("gone"))));
  return call;
}

/** A line whose n-th attempt is the n-th script: a call, or a fault. Every report is kept; pauses take no time. */
function scriptedLine(...scripts) {
  const states = [];
  let reported = () => {};
  const line = new Line({
    dial: async () => {
      const script = scripts.shift();
      if (script instanceof Error) throw script;
      return script;
    },
    report: (state) => (states.push(state), reported()),
    pause: async () => {},
    now: () => 0,
  });
  const until = async (name, count = 1) => {
    while (states.filter((state) => state.name === name).length < count) await new Promise((resolve) => (reported = resolve));
  };
  return { line, states, until, names: () => states.map(({ name }) => name) };
}

test("a call is up until it is hung up", async () => {
  const call = scriptedCall();
  const { line, names, until } = scriptedLine(call);
  const over = line.pickUp();
  await until("live");
  assert.equal(line.isOpen, true);
  line.hangUp();
  await over;
  assert.deepEqual(names(), ["connecting", "live", "idle"]);
  assert.equal(call.closed, true);
  assert.equal(line.isOpen, false);
});

test("a call that drops is dialled again, and known to be the second one", async () => {
  const [first, second] = [scriptedCall(), scriptedCall()];
  const { line, states, names, until } = scriptedLine(first, second);
  const over = line.pickUp();
  await until("live");
  first.end();
  await until("live", 2);
  assert.deepEqual(names(), ["connecting", "live", "waiting", "connecting", "live"]);
  assert.deepEqual(states.filter(({ name }) => name === "live").map(({ again }) => again), [false, true]);
  line.hangUp();
  await over;
});

test("an unreachable server is tried again after growing pauses", async () => {
  const call = scriptedCall();
  const { line, states, until } = scriptedLine(new TypeError("fetch"), new TypeError("fetch"), new TypeError("fetch"), call);
  const over = line.pickUp();
  await until("live");
  const pauses = states.filter(({ name }) => name === "waiting").map(({ delaySec }) => delaySec);
  assert.equal(pauses.length, 3);
  assert.ok(pauses[0] < pauses[1] && pauses[1] < pauses[2], `${pauses}`);
  line.hangUp();
  await over;
});

test("a busy server names the pause", async () => {
  const call = scriptedCall();
  const { line, states, until } = scriptedLine(new Refusal(503, "busy", 7), call);
  const over = line.pickUp();
  await until("live");
  assert.equal(states.find(({ name }) => name === "waiting").delaySec, 7);
  line.hangUp();
  await over;
});

test("a refusal that a second attempt cannot cure ends the line", async () => {
  const refusal = new Refusal(401, "no key", null);
  const { line, states } = scriptedLine(refusal);
  await line.pickUp();
  assert.deepEqual(states.at(-1), { name: "failed", fault: refusal });
  assert.equal(line.isOpen, false);
});

test("hanging up does not wait for an attempt that hangs", async () => {
  const states = [];
  const line = new Line({ dial: () => new Promise(() => {}), report: ({ name }) => states.push(name) });
  const over = line.pickUp();
  line.hangUp();
  await over;
  assert.deepEqual(states, ["connecting", "idle"]);
});

test("a long pause can be cut short", async () => {
  const call = scriptedCall();
  const dials = [new Refusal(503, "busy", 3600), call];
  let live;
  const isLive = new Promise((resolve) => (live = resolve));
  const line = new Line({
    dial: async () => {
      const next = dials.shift();
      if (next instanceof Error) throw next;
      return next;
    },
    report: ({ name }) => {
      if (name === "waiting") setImmediate(() => line.hurry());
      if (name === "live") live();
    },
  });
  const over = line.pickUp();
  await isLive;
  line.hangUp();
  await over;
});

test("pauses double up to a limit and are never the same for all callers", () => {
  assert.equal(backOffSec(0, 0.5), 0.5);
  assert.equal(backOffSec(2, 0.5), 2);
  assert.equal(backOffSec(30, 0.5), 10);
  assert.ok(backOffSec(3, 0) < backOffSec(3, 0.99));
});
