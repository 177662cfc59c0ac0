import assert from "node:assert/strict";
import { test } from "node:test";

import { Invitation } from "../edge_client/page/invitation.js";

const ticket = (text) => ({ type: "antiphon.session.ticket", ticket: text, expires_at: 1_700_000_000 });

test("a ticket is good until something is said, and the next one is good again", () => {
  const invitation = new Invitation();
  assert.equal(invitation.ticket(0), null);
  assert.equal(invitation.take(ticket("one"), 0), true);
  assert.equal(invitation.ticket(1_000), "one");
  for (const type of ["input_audio_buffer.speech_started", "response.created"]) {
    assert.equal(invitation.take({ type }, 1_000), false);
    assert.equal(invitation.ticket(1_000), null);
    invitation.take(ticket("another"), 2_000);
    assert.equal(invitation.ticket(2_000), "another");
  }
});

test("what has nothing to do with it leaves it as it is", () => {
  const invitation = new Invitation();
  invitation.take(ticket("one"), 0);
  for (const type of ["antiphon.server.draining", "session.updated", "antiphon.turn.traced"]) invitation.take({ type }, 0);
  assert.equal(invitation.ticket(0), "one");
});

test("the edge says that it will end before it gives a ticket", () => {
  const invitation = new Invitation();
  assert.equal(invitation.isDraining, false);
  assert.equal(invitation.take({ type: "antiphon.server.draining", deadline_ms: 1 }, 0), false);
  assert.equal(invitation.isDraining, true);
});

test("one that is too old, or that was used, is none", () => {
  const invitation = new Invitation();
  invitation.take(ticket("one"), 0);
  assert.equal(invitation.ticket(119_000), null);
  assert.equal(invitation.ticket(100_000), "one");
  invitation.forget();
  assert.equal(invitation.ticket(100_000), null);
});
