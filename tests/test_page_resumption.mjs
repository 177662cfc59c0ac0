import assert from "node:assert/strict";
import { test } from "node:test";

import { Resumption } from "../edge_client/page/resumption.js";

const answered = (token) => new Headers(token ? { "Antiphon-Resume": token } : {});
const event = (id) => ({ type: "anything", event_id: id });

/** One whose session has begun. */
function begun() {
  const resumption = new Resumption();
  resumption.follow(answered("token"));
  resumption.admit(event("event_1"));
  return resumption;
}

test("the next offer names the session and the last event that came", () => {
  const resumption = begun();
  resumption.admit(event("event_2"));
  assert.equal(resumption.isPossible, true);
  assert.deepEqual(resumption.headers, { "Antiphon-Resume": "token", "Antiphon-Last-Event": "event_2" });
});

test("without a token, or before the first event, there is no session to go on with", () => {
  const young = new Resumption();
  young.follow(answered("token"));
  assert.deepEqual([young.isPossible, young.headers], [false, {}]);
  const foreign = new Resumption();
  foreign.follow(answered(null));
  foreign.admit(event("event_1"));
  assert.deepEqual([foreign.isPossible, foreign.headers], [false, {}]);
});

test("an event is news once, over whichever connection it comes", () => {
  const resumption = begun();
  assert.deepEqual(["event_2", "event_1", "event_2", "event_3"].map((id) => resumption.admit(event(id))), [true, false, false, true]);
});

test("what comes again late does not become the last event", () => {
  const resumption = begun();
  resumption.admit(event("event_2"));
  resumption.admit(event("event_1"));
  assert.equal(resumption.headers["Antiphon-Last-Event"], "event_2");
});

test("an event without an id is always news", () => {
  assert.equal(begun().admit({ type: "anything" }), true);
});

test("a long session does not grow without bound, and knows what may still be sent again", () => {
  const resumption = begun();
  for (let n = 2; n < 10_000; n += 1) resumption.admit(event(`event_${n}`));
  assert.equal(resumption.admit(event("event_8000")), false);
  assert.equal(resumption.admit(event("event_1")), true);
});
