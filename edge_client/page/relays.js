/**
 * TURN servers, for callers whom no direct way leads to the edge. The page says whether there are any, so that nobody
 * waits for an answer that is empty.
 */

const MARGIN_MS = 60_000; // credentials must still hold when the call is set up
const GATHERING_MS = 1_000; // a TURN server that has not answered by then is not waited for

let remembered = { servers: /** @type {RTCIceServer[]} */ ([]), untilMs: 0 };

const told = () => /** @type {HTMLMetaElement | null} */ (document.querySelector('meta[name="antiphon-relays"]'));

/**
 * Never fails: most calls come about without a relay, and a key that is wrong is told with the answer to the offer.
 *
 * @param {Record<string, string>} headers  with the caller's key
 * @param {AbortSignal} signal  gives up
 * @returns {Promise<RTCIceServer[]>}
 */
export async function relays(headers, signal) {
  const meta = told();
  if (!meta) return [];
  if (Date.now() < remembered.untilMs) return remembered.servers;
  const response = await fetch(new URL(meta.content, document.baseURI), { headers, signal }).catch(() => null);
  const answer = response?.ok ? await response.json().catch(() => null) : null;
  if (!answer) return [];
  remembered = { servers: answer.ice_servers, untilMs: answer.expires_at * 1000 - MARGIN_MS };
  return remembered.servers;
}

/**
 * Resolves when the offer may be posted: at once where the edge can be reached, for it learns our addresses from our
 * first check; otherwise when they are known, for it has to check them first.
 *
 * @param {RTCPeerConnection} connection
 * @returns {Promise<void>}
 */
export function addressesNamed(connection) {
  if (told()?.dataset.edge !== "relayed") return Promise.resolve();
  return new Promise((resolve) => {
    const settle = () => connection.iceGatheringState === "complete" && resolve();
    connection.addEventListener("icegatheringstatechange", settle);
    setTimeout(resolve, GATHERING_MS);
    settle();
  });
}
