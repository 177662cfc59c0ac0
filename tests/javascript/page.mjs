// What a page can do with the SDK: speak over WebRTC, with the browser's fake microphone, and write over a WebSocket.
import { OpenAIRealtimeWebRTC, RealtimeSession } from "@openai/agents-realtime";

import { makeAgent } from "./agent.mjs";
import { Diary } from "./diary.mjs";

/** Connects, waits until the last of `lines` utterances has been answered aloud, and returns the diary. */
window.converse = async ({ url, apiKey, weather, lines }) => {
  const transport = new OpenAIRealtimeWebRTC({ baseUrl: `${url}/v1/realtime/calls` });
  const session = new RealtimeSession(makeAgent(weather), { transport });
  const diary = new Diary(session);
  await session.connect({ apiKey });
  const { callId, connectionState } = transport;
  await diary.until(() => diary.commits()[lines - 1]);
  const answer = await diary.until(() => diary.answer());
  await diary.until(() => diary.places("output_audio_buffer.stopped", 0).find(about(answer)));
  const sound = await received(connectionState.peerConnection);
  session.close();
  return { ...diary.toJSON(), callId, sound };

  function about(response) {
    return (place) => diary.events[place].response_id === response.id;
  }
};

/** Connects, writes `text`, and returns the diary as soon as it has been answered. */
window.write = async ({ url, apiKey, weather, text }) => {
  const session = new RealtimeSession(makeAgent(weather), { transport: "websocket" });
  const diary = new Diary(session);
  await session.connect({ apiKey, url });
  session.sendMessage(text);
  await diary.until(() => diary.places("response.done", 0)[0]);
  session.close();
  return diary.toJSON();
};

/** How much sound arrived, and how loud it was in all. */
async function received(peerConnection) {
  const stats = [...(await peerConnection.getStats()).values()];
  const { totalAudioEnergy, totalSamplesDuration } = stats.find(({ type }) => type === "inbound-rtp");
  return { totalAudioEnergy, totalSamplesDuration };
}
