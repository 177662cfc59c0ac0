// The parts of a browser that a call uses, scripted: connections that open and speak when they are told to, microphones
// that hear nothing, and an edge whose answers are given in order.
export class ScriptedBrowser {
  connections = [];
  posts = [];
  answers = [];
  microphones = [];

  /** Becomes the browser of this process. */
  install() {
    const browser = this;
    globalThis.RTCPeerConnection = class extends ScriptedConnection {
      constructor() {
        super();
        browser.connections.push(this);
      }
    };
    globalThis.MediaStream = class {};
    globalThis.AudioContext = SilentContext;
    globalThis.AudioWorkletNode = SilentNode;
    const mediaDevices = { getUserMedia: async () => this.#openMicrophone() };
    Object.defineProperty(globalThis, "navigator", { value: { mediaDevices }, configurable: true });
    globalThis.document = { baseURI: "http://edge/", querySelector: () => null };
    globalThis.fetch = async (url, options) => {
      this.posts.push({ url: String(url), ...options });
      return this.answers.shift()(options);
    };
  }

  forget() {
    this.connections.length = this.posts.length = this.answers.length = this.microphones.length = 0;
  }

  #openMicrophone() {
    const track = { kind: "audio", isOpen: true, stop: () => (track.isOpen = false) };
    this.microphones.push(track);
    return { getAudioTracks: () => [track], getTracks: () => [track] };
  }
}

class SilentNode {
  port = {};
  connect() {}
  disconnect() {}
}

class SilentContext {
  currentTime = 0;
  destination = new SilentNode();
  audioWorklet = { addModule: async () => {} };
  createMediaStreamSource = () => new SilentNode();
  createMediaStreamDestination = () => ({ stream: { getAudioTracks: () => [{ kind: "audio", isSilent: true }] } });
  resume() {}
  suspend() {}
}

/** RTCPeerConnection with its only channel and its only sender. */
class ScriptedConnection {
  connectionState = "new";
  localDescription = null;
  remote = null;
  arrived = 0; // packets
  sent = []; // events
  channel = { readyState: "connecting", send: (text) => this.sent.push(JSON.parse(text)) };
  sender = { track: null, replaceTrack: async (track) => void (this.sender.track = track) };

  createDataChannel() {
    return this.channel;
  }

  addTrack(track) {
    this.sender.track = track;
    return this.sender;
  }

  setConfiguration() {}

  async setLocalDescription() {
    this.localDescription = { type: "offer", sdp: "offer" };
  }

  async setRemoteDescription({ sdp }) {
    this.remote = sdp;
  }

  async getStats() {
    return new Map([["in", { type: "inbound-rtp", kind: "audio", packetsReceived: this.arrived }]]);
  }

  close() {
    this.connectionState = "closed";
  }

  /** From here on events can be exchanged. */
  open() {
    this.channel.readyState = "open";
    this.channel.onopen?.();
  }

  /** Something comes from the edge. */
  tell(event) {
    this.channel.onmessage?.({ data: JSON.stringify(event) });
  }
}

/** What the edge answers to an offer that it takes, resumed or not. */
export const answer = () =>
  new Response("answer", { status: 201, headers: { Location: "/v1/realtime/calls/rtc_1", "Antiphon-Resume": "token" } });

/** Lets everything happen that waits for nothing but its turn. */
export async function settle() {
  for (let n = 0; n < 50; n += 1) await Promise.resolve();
}
