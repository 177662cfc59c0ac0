/** Notices that the world may have changed behind the page's back: another network, a sleep, a tab that was away. */

const GLANCE_MS = 1_000;
const NAP_MS = 4_000; // a glance this late was not merely slow

/** @param {() => void} onWake */
export function watchWake(onWake) {
  let lastGlance = Date.now(); // unlike performance.now(), it counts the sleep of the computer everywhere
  setInterval(() => {
    const since = Date.now() - lastGlance;
    lastGlance += since;
    if (since > NAP_MS) onWake();
  }, GLANCE_MS);
  window.addEventListener("online", onWake);
  document.addEventListener("visibilitychange", () => document.hidden || onWake());
}
