"""OpenAI's Realtime protocol (GA), as the edge speaks it over WebRTC and WebSocket."""
