// The agent that every conversation of these tests is held with, built as the SDK's users build theirs.
import { RealtimeAgent, tool } from "@openai/agents-realtime";

/** `weather` is the definition of the tool as the Realtime protocol has it, and what it answers. */
export function makeAgent({ definition, report }) {
  const weather = tool({
    name: definition.name,
    description: definition.description,
    parameters: definition.parameters,
    strict: true,
    execute: async ({ city }) => (city === "Paris" ? report : `There is no report for ${city}.`),
  });
  return new RealtimeAgent({
    name: "Assistant",
    instructions: "You are a helpful voice assistant.",
    tools: [weather],
  });
}
