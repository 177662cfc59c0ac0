import assert from "node:assert/strict";
import { test } from "node:test";

import { SoundClock } from "../edge_client/page/soundclock.js";

test("before the first reading nothing is known, and after a rest neither", () => {
  const clock = new SoundClock();
  assert.equal(clock.pageMs(1), null);
  clock.feed(1, 5_000);
  clock.forget();
  assert.equal(clock.pageMs(1), null);
});

test("the reading right after a stretch of sound was computed counts", () => {
  const clock = new SoundClock();
  for (const lateMs of [7, 0, 4, 9]) clock.feed(2, 6_000 + lateMs);
  assert.equal(clock.pageMs(2.5), 6_500);
});

test("sound that was held up for good is found again within a second or two", () => {
  const clock = new SoundClock();
  for (let n = 0; n < 100; n += 1) clock.feed(n * 0.04, 1_000 + n * 40 + (n < 50 ? 0 : 300));
  assert.equal(Math.round(clock.pageMs(4)), 5_300);
});
