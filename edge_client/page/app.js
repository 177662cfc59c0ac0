/** Binds the telephone to the page. */

import { canPickOutput, DevicePicker } from "./devices.js";
import { byId, milliseconds, setText } from "./elements.js";
import { inPlainWords, Refusal } from "./faults.js";
import { Figures } from "./figures.js";
import { bindHold } from "./hold.js";
import { tabMemory } from "./memory.js";
import { Meter } from "./meter.js";
import { expectedMs, speakers } from "./placement.js";
import { Stave } from "./stave.js";
import { Telephone } from "./telephone.js";
import { Transcript } from "./transcript.js";
import { isMeasured } from "./turns.js";
import { Waterfall } from "./waterfall.js";
import { watchWake } from "./wake.js";
import { WakeLock } from "./wakelock.js";

/** @typedef {import("./line.js").LineState} LineState */

const STATISTICS_PERIOD_MS = 1_000;

const INSECURE = "Browsers give a page sound and microphone only over https, or on this computer itself. Open it so.";

const PHASES = { listening: "Listening", hearing: "Hearing you", thinking: "Thinking", speaking: "Speaking" };

const page = {
  body: document.body,
  connection: byId("connection", HTMLElement),
  phase: byId("phase", HTMLElement),
  opening: byId("opening", HTMLElement),
  fault: byId("fault", HTMLElement),
  keyForm: byId("key-form", HTMLFormElement),
  key: byId("key", HTMLInputElement),
  talk: byId("talk", HTMLButtonElement),
  talkName: byId("talk-name", HTMLElement),
  mute: byId("mute", HTMLButtonElement),
  hold: byId("hold", HTMLButtonElement),
  interrupt: byId("interrupt", HTMLButtonElement),
  typing: byId("typing", HTMLFormElement),
  text: byId("text", HTMLInputElement),
  latency: byId("latency", HTMLElement),
  latencyToggle: byId("latency-toggle", HTMLButtonElement),
  sound: byId("sound", HTMLDialogElement),
  openSound: byId("open-sound", HTMLButtonElement),
  echoCancellation: byId("echo-cancellation", HTMLInputElement),
  pushToTalk: byId("push-to-talk", HTMLInputElement),
  loudspeakerField: byId("loudspeaker-field", HTMLElement),
  reply: byId("reply", HTMLAudioElement),
};

const transcript = new Transcript(byId("captions", HTMLOListElement), byId("conversation", HTMLElement));
const waterfall = new Waterfall({
  panel: page.latency,
  v2v: byId("v2v", HTMLElement),
  v2vMedian: byId("v2v-median", HTMLElement),
  title: byId("turn-title", HTMLElement),
  placement: byId("placement", HTMLElement),
  rows: byId("waterfall-rows", HTMLTableSectionElement),
  reception: byId("reception", HTMLElement),
  trace: byId("trace", HTMLElement),
  chooser: byId("chooser", HTMLOListElement),
});
const stave = new Stave(byId("stave", HTMLCanvasElement));
const meters = {
  near: new Meter(byId("meter-near", HTMLElement)),
  far: new Meter(byId("meter-far", HTMLElement)),
};
const figures = new Figures(byId("statistics", HTMLDListElement));
const wakeLock = new WakeLock();

const microphones = new DevicePicker(byId("microphone", HTMLSelectElement), "audioinput", () =>
  telephone.changeMicrophone(),
);
const loudspeakers = new DevicePicker(byId("loudspeaker", HTMLSelectElement), "audiooutput", routeReply);

const telephone = new Telephone({
  audio: page.reply,
  wishes: () => ({ deviceId: microphones.deviceId, echoCancellation: page.echoCancellation.checked }),
  onChange: scheduleShow,
  onLine: followLine,
  onLevel: (side, level) => {
    meters[side].show(level.db);
    stave.add({ voice: side, ...level });
  },
  onMeasurement: (measurement) => stave.mark(measurement),
});

// -- what is shown ----------------------------------------------------------------------------------------------------

let isShowScheduled = false;

/** One event may change several things. */
function scheduleShow() {
  if (isShowScheduled) return;
  isShowScheduled = true;
  queueMicrotask(() => {
    isShowScheduled = false;
    show();
  });
}

function show() {
  const { captions, ledger } = telephone.conversation;
  transcript.show(captions, noteOf);
  waterfall.show(ledger.turns);
  page.opening.hidden = !isSecureContext || captions.length > 0 || telephone.lineState.name !== "idle";
  showControls();
  showFault(isSecureContext ? telephone.fault : INSECURE);
}

/** Under a reply: where it was made and how long it took to come. */
function noteOf(/** @type {import("./captions.js").Caption} */ { responseId }) {
  const turn = telephone.conversation.ledger.turns.find((candidate) => candidate.responseId === responseId);
  if (!turn || !isMeasured(turn)) return "";
  const { placement, v2vMs } = turn;
  const answeredAfter = v2vMs === null ? "" : `answered after ${milliseconds(v2vMs)} ms`;
  const expected = v2vMs === null || expectedMs(placement) === null ? "" : `${milliseconds(expectedMs(placement))} ms predicted`;
  return [placement && speakers(placement), answeredAfter, expected].filter(Boolean).join(" · ");
}

function showControls() {
  const isLive = telephone.lineState.name === "live";
  const isUp = isLive || telephone.lineState.name === "reconnecting"; // a button that is held is not taken away
  const { phase, pushToTalk } = telephone.conversation;
  page.body.dataset.phase = isLive ? phase.name : "none";
  page.talk.disabled = page.text.disabled = !isSecureContext;
  page.mute.disabled = !isUp;
  page.mute.setAttribute("aria-pressed", String(isUp && telephone.isMuted));
  page.mute.hidden = pushToTalk && isUp;
  page.hold.hidden = !(pushToTalk && isUp);
  page.body.toggleAttribute("data-push-to-talk", !page.hold.hidden);
  page.hold.setAttribute("aria-pressed", String(telephone.isHeld));
  page.interrupt.disabled = !isLive || (phase.name !== "speaking" && !phase.responding);
  setText(page.connection, connectionWords(telephone.lineState));
  setText(page.phase, phaseWords());
}

function phaseWords() {
  const { phase, pushToTalk } = telephone.conversation;
  if (telephone.lineState.name !== "live") return telephone.line.isOpen ? "" : "Ready";
  if (phase.name !== "listening") return PHASES[phase.name];
  if (pushToTalk) return telephone.isHeld ? "Listening" : "Hold to speak";
  return telephone.isMuted ? "Your microphone is off" : PHASES.listening;
}

/** @type {(state: LineState) => string} */
function connectionWords(state) {
  if (telephone.isAskingForMicrophone && state.name === "connecting") return "Allow the microphone";
  switch (state.name) {
    case "idle":
    case "failed":
      return "Not connected";
    case "connecting":
      return state.attempt === 0 ? "Connecting" : `Connecting, attempt ${state.attempt + 1}`;
    case "live":
      return "Connected";
    case "reconnecting":
      return "Reconnecting";
    case "waiting":
      return `Trying again in ${Math.max(1, Math.round(state.delaySec))} s`;
  }
}

/** @param {LineState} state */
function followLine(state) {
  page.body.dataset.line = state.name;
  setText(page.talkName, telephone.line.isOpen ? "Hang up" : "Talk");
  show();
  if (state.name === "live") showLive();
  if (state.name === "failed") askForKey(state.fault);
  if (state.name === "idle" || state.name === "failed") showEnd();
}

function showLive() {
  page.keyForm.hidden = true;
  stave.start(() => telephone.sound.now);
  wakeLock.request();
  microphones.refresh();
  loudspeakers.refresh();
  routeReply();
  if (document.activeElement === page.talk && !page.hold.hidden) page.hold.focus(); // not on what hangs up
}

function routeReply() {
  if (canPickOutput()) page.reply.setSinkId(loudspeakers.deviceId).catch(() => {}); // gone: the default is heard
}

function showEnd() {
  stave.stop();
  wakeLock.release();
  meters.near.show(-Infinity);
  meters.far.show(-Infinity);
}

/** @param {unknown} fault */
function showFault(fault) {
  page.fault.hidden = fault === null;
  setText(page.fault, fault === null ? "" : inPlainWords(fault));
}

/** @param {unknown} fault */
function askForKey(fault) {
  if (!(fault instanceof Refusal) || !fault.needsKey) return;
  page.keyForm.hidden = false;
  page.key.focus();
}

async function showStatistics() {
  if (document.hidden || telephone.lineState.name !== "live") return;
  const statistics = await telephone.statistics().catch(() => null); // the call may end meanwhile
  if (statistics) figures.show(statistics);
}

// -- what the person does ---------------------------------------------------------------------------------------------

page.talk.addEventListener("click", () => {
  if (telephone.line.isOpen) telephone.hangUp();
  else telephone.talk();
});

page.mute.addEventListener("click", () => telephone.toggleMute());
page.interrupt.addEventListener("click", () => telephone.conversation.interrupt());

page.typing.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = page.text.value.trim();
  if (text) telephone.type(text);
  page.text.value = "";
});

page.opening.addEventListener("click", ({ target }) => {
  const question = target instanceof HTMLElement ? target.dataset.question : undefined;
  if (question) telephone.type(question);
});

page.keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  tabMemory.keep("key", page.key.value.trim());
  page.key.value = "";
  page.keyForm.hidden = true;
  telephone.talk();
});

page.latencyToggle.addEventListener("click", () => {
  const isOpen = page.latencyToggle.getAttribute("aria-expanded") !== "true";
  page.latencyToggle.setAttribute("aria-expanded", String(isOpen));
});

page.openSound.addEventListener("click", () => {
  microphones.refresh();
  loudspeakers.refresh();
  page.sound.showModal();
});
page.echoCancellation.addEventListener("change", () => telephone.microphone.track && telephone.changeMicrophone());
page.pushToTalk.addEventListener("change", () => telephone.setPushToTalk(page.pushToTalk.checked));

bindHold({
  button: page.hold,
  isInUse: () => !page.hold.hidden,
  onPress: () => telephone.holdToSpeak(),
  onRelease: () => telephone.letGo(),
});

document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape" && !page.sound.open) telephone.conversation.interrupt();
});

// -- what the world does ----------------------------------------------------------------------------------------------

watchWake(() => telephone.line.hurry());
window.addEventListener("pagehide", () => telephone.abandon());
navigator.mediaDevices?.addEventListener("devicechange", () => {
  microphones.refresh();
  loudspeakers.refresh();
});
setInterval(showStatistics, STATISTICS_PERIOD_MS);

page.loudspeakerField.hidden = !canPickOutput();
show();
