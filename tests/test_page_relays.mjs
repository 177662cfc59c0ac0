import assert from "node:assert/strict";
import { test } from "node:test";

const SERVER = { urls: ["turn:turn.example.com"], username: "u", credential: "c" };
const never = new AbortController().signal;

let asked;

/** A page that was told `meta`, and an edge that answers what `answer` says. Each story has a module of its own. */
async function page(meta, answer = () => null) {
  asked = [];
  globalThis.document = { baseURI: "http://edge/prefix/", querySelector: () => meta };
  globalThis.fetch = async (url, { headers }) => {
    asked.push([url.href, headers]);
    const body = answer();
    if (body instanceof Error) throw body;
    return { ok: body !== null, json: async () => body };
  };
  return import(`../edge_client/page/relays.js?story=${Math.random()}`);
}

const META = { content: "v1/realtime/ice_servers", dataset: { edge: "direct" } };
const inSec = (seconds) => Math.floor(Date.now() / 1000) + seconds;

test("an edge without relays is not asked for them", async () => {
  const { relays } = await page(null);
  assert.deepEqual(await relays({}, never), []);
  assert.deepEqual(asked, []);
});

test("an edge with relays is asked once, until the credentials run out", async () => {
  const { relays } = await page(META, () => ({ ice_servers: [SERVER], expires_at: inSec(600) }));
  const headers = { Authorization: "Bearer key" };
  assert.deepEqual(await relays(headers, never), [SERVER]);
  assert.deepEqual(await relays(headers, never), [SERVER]);
  assert.deepEqual(asked, [["http://edge/prefix/v1/realtime/ice_servers", headers]]);
});

test("credentials that are about to run out are asked for anew", async () => {
  const { relays } = await page(META, () => ({ ice_servers: [SERVER], expires_at: inSec(30) }));
  await relays({}, never);
  await relays({}, never);
  assert.equal(asked.length, 2);
});

test("a refusal or a broken line is left to the offer to tell", async () => {
  for (const answer of [null, new TypeError("no network")]) {
    const { relays } = await page(META, () => answer);
    assert.deepEqual(await relays({}, never), []);
  }
});

test("an offer waits for the caller's addresses only where the edge has to know them", async () => {
  const connection = new EventTarget();
  connection.iceGatheringState = "gathering";
  const direct = await page(META);
  await direct.addressesNamed(connection);

  const relayed = await page({ ...META, dataset: { edge: "relayed" } });
  let named = false;
  const waiting = relayed.addressesNamed(connection).then(() => (named = true));
  await Promise.resolve();
  assert.equal(named, false);
  connection.iceGatheringState = "complete";
  connection.dispatchEvent(new Event("icegatheringstatechange"));
  await waiting;
});
