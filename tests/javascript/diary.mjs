// What one conversation was, as the SDK tells it to its user: raw events, session events, history, errors.
const SESSION_EVENTS = [
  "agent_start",
  "agent_end",
  "agent_tool_start",
  "agent_tool_end",
  "audio_start",
  "audio_stopped",
  "audio_interrupted",
];
const PATIENCE_MS = 60_000; // for a machine with much else to do
const GLANCE_MS = 20;

export class Diary {
  constructor(session) {
    this.events = [];
    this.kinds = [];
    this.history = [];
    this.errors = [];
    session.on("transport_event", (event) => this.events.push(withoutSound(event)));
    session.on("history_updated", (history) => (this.history = history));
    session.on("error", ({ error }) => this.errors.push(describe(error)));
    for (const kind of SESSION_EVENTS) {
      session.on(kind, () => this.kinds.push(kind));
    }
  }

  /** The first value of `found` that is not undefined. */
  async until(found) {
    const deadline = Date.now() + PATIENCE_MS;
    while (Date.now() < deadline) {
      const value = found();
      if (value !== undefined) return value;
      await pause(GLANCE_MS);
    }
    throw new Error(`waited in vain; the server sent: ${this.events.map((event) => event.type).join(", ")}`);
  }

  /** Where the utterances after event number `since` ended. */
  commits(since = 0) {
    return this.places("input_audio_buffer.committed", since);
  }

  /** The finished response to what was said last, or undefined while there is none. */
  answer(since = 0) {
    const commit = this.commits(since).at(-1);
    if (commit === undefined) return undefined;
    const begun = this.places("response.created", commit).map((place) => this.events[place].response.id);
    return this.places("response.done", commit)
      .map((place) => this.events[place].response)
      .find((response) => begun.includes(response.id) && isAnswer(response));
  }

  places(kind, since) {
    return this.events.flatMap((event, place) => (place >= since && event.type === kind ? [place] : []));
  }

  toJSON() {
    const { events, kinds, history, errors } = this;
    return { events, kinds, history, errors };
  }
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function isAnswer(response) {
  return response.status === "completed" && response.output.some((item) => item.type === "message");
}

function withoutSound(event) {
  return event.type === "response.output_audio.delta" ? { ...event, delta: "" } : event;
}

function describe(error) {
  return error instanceof Error ? error.stack : JSON.stringify(error);
}
