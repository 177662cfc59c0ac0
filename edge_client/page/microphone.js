/** The caller's microphone: opened when first wanted, kept across calls that drop, closed at hang-up. */

/**
 * @typedef {object} MicrophoneWishes
 * @property {string} deviceId  empty for the system's choice, which also stands in for a device that is gone
 * @property {boolean} echoCancellation  with noise suppression and gain control, as browsers bundle them
 */

export class Microphone {
  #stream = /** @type {MediaStream | null} */ (null);
  #isMuted = false;
  #onLost;

  /** @param {() => void} onLost  the device went away */
  constructor(onLost) {
    this.#onLost = onLost;
  }

  /** The open track, or null. */
  get track() {
    return this.#stream?.getAudioTracks()[0] ?? null;
  }

  get isMuted() {
    return this.#isMuted;
  }

  set isMuted(isMuted) {
    this.#isMuted = isMuted;
    if (this.track) this.track.enabled = !isMuted;
  }

  /**
   * Opens the microphone, or another one instead; the earlier one stays open if the new one cannot be had.
   *
   * @param {MicrophoneWishes} wishes
   * @returns {Promise<MediaStreamTrack>}
   */
  async open(wishes) {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: constraints(wishes) });
    this.close();
    this.#stream = stream;
    const [track] = stream.getAudioTracks();
    track.enabled = !this.#isMuted;
    track.onended = this.#onLost;
    return track;
  }

  close() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
  }
}

/** @type {(wishes: MicrophoneWishes) => MediaTrackConstraints} */
function constraints({ deviceId, echoCancellation }) {
  return {
    ...(deviceId && { deviceId: { ideal: deviceId } }),
    channelCount: 1,
    echoCancellation,
    noiseSuppression: echoCancellation,
    autoGainControl: echoCancellation,
  };
}
