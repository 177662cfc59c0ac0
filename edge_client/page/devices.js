/** The pickers of microphone and loudspeaker; what was picked is remembered by the browser. */

import { browserMemory } from "./memory.js";

/** @typedef {"audioinput" | "audiooutput"} DeviceKind */

/** @type {Record<string, string>} */
const FALLBACK_NAMES = { audioinput: "Microphone", audiooutput: "Loudspeaker" };

export class DevicePicker {
  #select;
  #kind;

  /**
   * @param {HTMLSelectElement} select
   * @param {DeviceKind} kind
   * @param {(deviceId: string) => void} onPick
   */
  constructor(select, kind, onPick) {
    this.#select = select;
    this.#kind = kind;
    select.addEventListener("change", () => {
      browserMemory.keep(kind, select.value);
      onPick(select.value);
    });
  }

  /** What was picked, now or on an earlier visit; empty for the system's choice. The device may be gone. */
  get deviceId() {
    return browserMemory.recall(this.#kind) ?? this.#select.value;
  }

  /** Reads the devices again; names are empty until a microphone was allowed once. */
  async refresh() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    const ours = devices.filter(({ kind }) => kind === this.#kind);
    const named = ours.filter(({ deviceId }) => deviceId && deviceId !== "default");
    const wanted = this.deviceId;
    this.#select.replaceChildren(
      new Option("System default", ""),
      ...named.map(({ deviceId, label }, n) => new Option(label || `${FALLBACK_NAMES[this.#kind]} ${n + 1}`, deviceId)),
    );
    if (named.some(({ deviceId }) => deviceId === wanted)) this.#select.value = wanted;
  }
}

/** Not every browser lets a page choose where it is heard. */
export const canPickOutput = () => "setSinkId" in HTMLMediaElement.prototype;
