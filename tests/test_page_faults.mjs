import assert from "node:assert/strict";
import { test } from "node:test";

import { inPlainWords, Refusal } from "../edge_client/page/faults.js";

test("every fault has words that say what to do or to expect", () => {
  assert.match(inPlainWords(new DOMException("", "NotAllowedError")), /Allow it/);
  assert.match(inPlainWords(new DOMException("", "TimeoutError")), /does not answer/);
  assert.match(inPlainWords(new TypeError("Failed to fetch")), /cannot be reached/);
  assert.match(inPlainWords(new Refusal(401, "invalid api key", null)), /key/);
  assert.match(inPlainWords(new Refusal(503, "at capacity", 5)), /busy/);
  assert.equal(inPlainWords(new Refusal(400, "expected one m=audio", null)), "expected one m=audio");
  assert.match(inPlainWords(new Refusal(418, "", null)), /418/);
  assert.equal(inPlainWords("as it is"), "as it is");
});

test("only a change by the person cures a client's fault", () => {
  const isFinal = (status) => new Refusal(status, "", null).isFinal;
  assert.deepEqual([400, 401, 403, 408, 429, 500, 503].map(isFinal), [true, true, true, false, false, false, false]);
});
