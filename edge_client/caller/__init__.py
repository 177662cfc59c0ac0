"""A caller that measures: a real WebRTC client for any server that speaks OpenAI Realtime."""
