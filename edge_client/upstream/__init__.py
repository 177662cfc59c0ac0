"""Any server of the OpenAI Realtime protocol as a backend."""
