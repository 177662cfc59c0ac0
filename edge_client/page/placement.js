/**
 * Who answered a turn and why, and how soon each candidate was expected to. Pure.
 *
 * @typedef {object} Placement
 * @property {readonly string[]} backends  who spoke, in this order; several where the speaker changed
 * @property {string} reason  why the last of them did
 * @property {Readonly<Record<string, number>>} predictedMs  the expected voice-to-voice time of each candidate
 */

/**
 * What an edge tells of it; null where it tells nothing.
 *
 * @type {(told: any) => Placement | null}
 */
export function readPlacement(told) {
  if (typeof told?.backend !== "string") return null;
  const switches = Array.isArray(told.switches) ? told.switches : [];
  const speakers = [told, ...switches].filter((speaker) => typeof speaker?.backend === "string");
  return {
    backends: speakers.map(({ backend }) => backend),
    reason: String(speakers.at(-1).reason ?? ""),
    predictedMs: onlyNumbers(told.predicted_ms),
  };
}

/** @type {(placement: Placement | null) => number | null} */
export function expectedMs(placement) {
  return placement?.predictedMs[placement.backends[0]] ?? null;
}

/** @type {(placement: Placement) => string} */
export const speakers = ({ backends }) => backends.join(", then ");

/**
 * The fields of an object that are numbers.
 *
 * @type {(fields: unknown) => Record<string, number>}
 */
export function onlyNumbers(fields) {
  /** @type {[string, number][]} */
  const numbers = [];
  for (const [name, value] of Object.entries(fields ?? {})) {
    if (typeof value === "number" && Number.isFinite(value)) numbers.push([name, value]);
  }
  return Object.fromEntries(numbers);
}
