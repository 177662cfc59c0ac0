import assert from "node:assert/strict";
import { test } from "node:test";

import { expectedMs, readPlacement, speakers } from "../edge_client/page/placement.js";

test("who answered, why, and what was expected", () => {
  const placement = readPlacement({ backend: "cloud", reason: "better", predicted_ms: { cloud: 410.5, device: 250 } });
  assert.deepEqual(placement, { backends: ["cloud"], reason: "better", predictedMs: { cloud: 410.5, device: 250 } });
  assert.equal(speakers(placement), "cloud");
  assert.equal(expectedMs(placement), 410.5);
});

test("where the speaker changed, the last one's reason stands", () => {
  const switches = [{ backend: "device", reason: "the cloud fell silent" }];
  const placement = readPlacement({ backend: "cloud", reason: "better", predicted_ms: {}, switches });
  assert.equal(speakers(placement), "cloud, then device");
  assert.equal(placement.reason, "the cloud fell silent");
  assert.equal(expectedMs(placement), null);
});

test("edges that tell nothing, or nonsense, do no harm", () => {
  for (const told of [undefined, null, "cloud", {}, { backend: 3 }]) assert.equal(readPlacement(told), null);
  const odd = readPlacement({ backend: "cloud", predicted_ms: { cloud: "soon" }, switches: ["device", null, {}] });
  assert.deepEqual(odd, { backends: ["cloud"], reason: "", predictedMs: {} });
  assert.equal(expectedMs(null), null);
});
