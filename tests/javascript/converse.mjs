// Holds one spoken conversation over the WebSocket. Reads a JSON object from standard input:
//   url         of the WebSocket
//   weather     the tool: its definition and its report
//   lines       what to say: files of 24 kHz PCM; `cutShort` says the next line into the answer to this one
//   listeningMs how much of such an answer is heard first
// and writes the diary to standard output as JSON.
import { readFile } from "node:fs/promises";
import { json } from "node:stream/consumers";

import { RealtimeSession } from "@openai/agents-realtime";

import { makeAgent } from "./agent.mjs";
import { Diary, pause } from "./diary.mjs";
import { Microphone } from "./microphone.mjs";

const PCM_BYTES_PER_MS = 48;

const { url, weather, lines, listeningMs } = await json(process.stdin);
const session = new RealtimeSession(makeAgent(weather), { transport: "websocket" });
const diary = new Diary(session);
const loudspeaker = { begun: 0, lengthMs: 0 };

session.on("audio_start", () => Object.assign(loudspeaker, { begun: Date.now(), lengthMs: 0 }));
session.on("audio", ({ data }) => (loudspeaker.lengthMs += data.byteLength / PCM_BYTES_PER_MS));
session.on("audio_interrupted", () => (loudspeaker.lengthMs = 0));

await session.connect({ apiKey: "none is needed", url });
const microphone = new Microphone((sound) => session.sendAudio(sound));
for (const line of lines) {
  const since = diary.events.length;
  await microphone.say(await readFile(line.path));
  await (line.cutShort ? listenALittle(since) : hearOut(since));
}
microphone.close();
session.close();
process.stdout.write(JSON.stringify(diary));

async function listenALittle(since) {
  await diary.until(() => diary.places("response.output_audio.delta", diary.commits(since).at(-1) ?? Infinity)[0]);
  await pause(listeningMs);
}

async function hearOut(since) {
  await diary.until(() => diary.answer(since));
  await pause(Math.max(0, loudspeaker.begun + loudspeaker.lengthMs - Date.now()));
}
