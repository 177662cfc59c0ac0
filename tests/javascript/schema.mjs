// Validates server events the way the SDK does: a malformed event silently becomes a generic one, without effect.
// Reads a JSON list of events from standard input and writes a list of what is wrong with them.
import { json } from "node:stream/consumers";

import { realtimeServerEventSchema } from "./node_modules/@openai/agents-realtime/dist/openaiRealtimeEvents.mjs";
import { realtimeMessageItemSchema } from "./node_modules/@openai/agents-realtime/dist/items.mjs";

const CARRIES_A_MESSAGE = /^(conversation\.item\.(added|done|retrieved)|response\.output_item\.(added|done))$/;

const events = await json(process.stdin);
process.stdout.write(JSON.stringify(events.flatMap((event) => [...faults(event)])));

function* faults(event) {
  yield* describe(event, realtimeServerEventSchema.safeParse(event));
  if (CARRIES_A_MESSAGE.test(event.type) && event.item.type === "message") {
    yield* describe(event, realtimeMessageItemSchema.safeParse(asHistory(event.item)));
  }
}

/** The item as the SDK's history keeps it; an error thrown here ends the client's process. */
function asHistory({ id, type, role, content, status }) {
  return { itemId: id, type, role, content, status: status ?? "completed" };
}

function* describe(event, { success, error }) {
  if (!success) yield { event, issues: error.issues };
}
